import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { contents, Desk, sayings } from '../testing/cli.js';
import { jsonLines, resultOf } from '../testing/runLoam.js';

/** The steps of the pipeline from the command line: what they print, refuse and leave behind. */

const desk = new Desk();
const model = await desk.model('base.gguf', { layers: 3 });
const data = desk.file('data.json', sayings(24));
const run = (...args: string[]) => desk.run([...args, '--json']);
const threads = ['--threads', '1'];
const activations = desk.path('e.npz');
const factors = desk.path('factors');
const embedded = await run('embed', data, '--model', model, '--out', activations, ...threads);

describe('the pipeline from the command line', () => {
  it('runs from examples to an adapter that eval reads', async () => {
    const { rows, bytes, linears } = resultOf(embedded) as unknown as Record<string, never>;
    assert.equal((linears as unknown[]).length, 4);
    const size = jsonLines(embedded).find(({ type }) => type === 'size')!;
    const { train, validation } = rows as Record<string, number>;
    assert.equal(size.rows, train! + validation!);
    assert.ok((bytes as number) > (size.bytes as number));
    const solved = resultOf(await run('solve', activations, '--out', factors, ...threads));
    assert.equal(solved.linears, 4);
    const map = JSON.parse(readFileSync(join(factors, 'factors.json'), 'utf8'));
    for (const linear of map.linears) {
      for (const key of ['layer', 'module', 'rank', 'lambda']) assert.ok(key in linear, key);
      for (const part of ['train', 'validation']) assert.ok(linear.explained[part] <= 1, part);
    }
    const out = desk.path('packed.gguf');
    const packed = resultOf(await run('pack', factors, '--out', out));
    assert.equal(packed.peft, desk.path('packed-peft'));
    assert.deepEqual(readdirSync(packed.peft as string).sort(), ['adapter_config.json', 'adapter_model.safetensors']);
    const measured = resultOf(await run('eval', data, '--model', model, '--adapter', out, ...threads));
    const { base, adapted } = measured.nll as { base: number; adapted: number };
    assert.ok(adapted < base, `${adapted} of ${base}`);
  });

  it('leaves what is there alone when it refuses', async () => {
    const before = contents(desk.folder);
    const other = desk.path('other.npz');
    const cases: [string[], number, RegExp][] = [
      [['embed', data, '--model', model], 2, /no --out/],
      [['embed', data, '--model', model, '--out', data], 2, /names a file that is read/],
      [['embed', data, '--model', model, '--out', other, '--with', factors], 2, /not a file of activations/],
      [['embed', activations, '--out', other], 2, /perhaps of activations/],
      [['embed', activations, '--with', factors, '--out', other, '--shots', '3'], 2, /--shots, which is settled/],
      [['embed', activations, '--with', factors, '--out', activations], 2, /names a file that is read/],
      [['solve', data, '--out', desk.path('f')], 1, /data\.json/],
      [['solve', activations, '--out', factors], 1, /not empty/],
      [
        ['solve', activations, '--order', 'together', '--sweeps', '2', '--out', desk.path('f')],
        2,
        /--sweeps, which means nothing/,
      ],
      [['solve', activations, '--order', 'sideways', '--out', desk.path('f')], 2, /one of layers, together/],
      [['pack', factors], 2, /no --out/],
      [['pack', desk.folder, '--out', desk.path('p.gguf')], 1, /no factors\.json here/],
      [['pack', factors, '--out', model], 2, /names a file that is read/],
    ];
    for (const [args, code, pattern] of cases) {
      const refused = await run(...args);
      assert.equal(refused.code, code, `${args}: ${refused.stderr}`);
      assert.match(refused.stderr, pattern);
      assert.doesNotMatch(refused.stderr, /a bug in Loam/);
      const last = jsonLines(refused).at(-1)!;
      assert.deepEqual([last.type, last.exitCode], ['error', code]);
    }
    assert.deepEqual(contents(desk.folder), before);
  });

  const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;
  it('leaves nothing when it is stopped', { skip }, async () => {
    const large = await desk.model('large.gguf', { layers: 6, embedding: 256, headDim: 64, feedForward: 1024 });
    const long = sayings(200).map((r) => ({ ...r, output: `${r.output} `.repeat(4) }));
    const folder = desk.newFolder('stopped');
    const file = join(folder, 'e.npz');
    writeFileSync(file, 'an older file');
    const before = contents(folder);
    const stopWhen = {
      signal: 'SIGINT' as const,
      when: (out: string) => /"type":"progress".*"stage":"embed"/.test(out),
    };
    const args = ['embed', desk.file('long.json', long), '--model', large, '--out', file, '--json', ...threads];
    const stopped = await desk.run(args, { stopWhen });
    assert.equal(stopped.code, 130, stopped.stderr);
    assert.deepEqual(contents(folder), before);
    assert.equal(existsSync(file), true);
  });
});
