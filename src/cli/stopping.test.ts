import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { contents, Desk, sayings } from '../testing/cli.js';
import { jsonLines, type LoamRun } from '../testing/runLoam.js';

/** Ctrl-C: the exit code, the time it takes, and that nothing is left half-written. */

/** Far above what it takes (a graph is left after one operation), so that a slow machine passes too. */
const patience = 5000;

const desk = new Desk();
/** Takes minutes: the signal comes while it is well under way. */
const large = await desk.model('large.gguf', { layers: 6, embedding: 256, headDim: 64, feedForward: 1024 });
/** Takes seconds: late stages are reached soon. */
const small = await desk.model('small.gguf');
const words = (n: number, from = 0) => sayings(n, from).map((r) => ({ ...r, output: `${r.output} `.repeat(4) }));
const data = desk.file('data.json', words(200));
const heldout = desk.file('heldout.json', words(200, 1000));

function assertStopped(t: TestContext, run: LoamRun): void {
  assert.equal(run.signal, null, 'it ended by itself');
  assert.equal(run.code, 130, run.stderr);
  assert.match(run.stderr, /^stopping \.\.\.\nstopped by the user\.\n$/m);
  assert.doesNotMatch(run.stderr, /\n {4}at /);
  const last = jsonLines(run).at(-1)!;
  assert.deepEqual([last.type, last.exitCode], ['error', 130]);
  t.diagnostic(`stopped ${Math.round(run.stoppedAfter!)} ms after the signal`);
  assert.ok(run.stoppedAfter! < patience, `${run.stoppedAfter} ms`);
}

const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;

describe('tune, stopped', { skip }, () => {
  const moments: [string, string, string, NodeJS.Signals?][] = [
    ['as soon as the model is open', large, '"type":"model"'],
    ['while teacher and student walk', large, '"stage":"ridge"'],
    ['while teacher and student walk, by SIGTERM', large, '"stage":"ridge"', 'SIGTERM'],
    ['while it fits', small, '"type":"fitted"'],
    ['while it follows the labels', small, '"sweep":0'],
    ['while it measures', small, '"type":"progress","stage":"measure"'],
  ];
  for (const [name, model, sign, signal = 'SIGINT'] of moments) {
    it(name, async (t) => {
      const folder = desk.newFolder(name);
      const out = join(folder, 'a.gguf');
      writeFileSync(out, 'an older adapter');
      const before = contents(folder);
      const args = [
        '--method',
        'ridge',
        '--model',
        model,
        '--threads',
        '1',
        '--heldout',
        heldout,
        '--out',
        out,
        '--json',
      ];
      const stopWhen = { signal, when: (stdout: string) => stdout.includes(sign) };
      const run = await desk.run(['tune', data, ...args], { stopWhen });
      assertStopped(t, run);
      assert.deepEqual(contents(folder), before);
    });
  }
});

describe('other commands, stopped', { skip }, () => {
  const flags = ['--model', large, '--threads', '1', '--json'];
  it('eval', async (t) => {
    // A remark on the data is all it says before its result, which takes seconds.
    const stopWhen = { signal: 'SIGINT' as const, when: (_: string, err: string) => err.includes('left out: ') };
    const file = desk.file('with-remark.json', [...words(400), { instruction: 'no answer' }]);
    assertStopped(t, await desk.run(['eval', file, ...flags], { stopWhen }));
  });

  it('chat, within an answer', async (t) => {
    const stopWhen = { signal: 'SIGINT' as const, when: (out: string) => out.includes('"type":"text"') };
    const run = await desk.run(['chat', 'Hello', ...flags, '--max-tokens', '100000'], { stopWhen });
    assertStopped(t, run);
  });

  it('chat, while it waits for standard input to end', async (t) => {
    const stopWhen = { signal: 'SIGINT' as const, when: () => true };
    assertStopped(t, await desk.run(['chat', ...flags], { stdin: 'endless', stopWhen }));
  });
});
