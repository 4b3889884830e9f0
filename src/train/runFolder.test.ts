import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { beforeEach, describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { FileFaults } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { RunFolder } from './runFolder.js';

const root = scratchFolder();
beforeEach(() => {
  process.env.LOAM_HOME = mkdtempSync(join(root, 'home-'));
});
const out = join(root, 'my adapter.v2.gguf');
const identity = { data: 'aa', options: { rank: 8 } };

describe('RunFolder.open', () => {
  it('makes a folder for the owner, named after the output and told apart by its whole path', async () => {
    await using run = await RunFolder.open(out);
    const hash = createHash('sha256').update(out).digest('hex').slice(0, 12);
    assert.equal(run.path, join(process.env.LOAM_HOME!, 'runs', `my adapter.v2-${hash}`));
    if (process.platform !== 'win32') assert.equal(statSync(run.path).mode & 0o777, 0o700);
    await using other = await RunFolder.open(join(root, 'other', basename(out)));
    assert.notEqual(other.path, run.path);
    assert.equal(dirname(other.path), dirname(run.path));
  });

  it('is the same for a relative path, and holds names of any length', async () => {
    const long = join(root, `${'ö'.repeat(100)}.gguf`);
    let path: string;
    {
      await using run = await RunFolder.open(long);
      ({ path } = run);
      assert.ok(Buffer.byteLength(basename(path)) <= 255);
    }
    await using again = await RunFolder.open(relative(resolve('.'), long));
    assert.equal(again.path, path);
  });

  it('lets one have it at a time, and says who has it', async () => {
    {
      await using run = await RunFolder.open(out);
      assert.ok(run);
      await assert.rejects(
        RunFolder.open(out),
        (error) => error instanceof LoamError && error.message.includes(`process ${process.pid} is training`),
      );
    }
    await using next = await RunFolder.open(out);
    assert.ok(next);
  });

  it('a killed process does not block the next, and what it left unfinished goes', async () => {
    const module = new URL('./runFolder.js', import.meta.url).href;
    const script = `
      const { RunFolder } = await import(${JSON.stringify(module)});
      const run = await RunFolder.open(${JSON.stringify(out)});
      process.stdout.write(run.path);
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [path] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
    await assert.rejects(RunFolder.open(out), new RegExp(`process ${child.pid} is training`));
    child.kill('SIGKILL');
    await once(child, 'close');
    writeFileSync(join(path, '.checkpoint-1.loam.0123abcd.partial'), 'half');
    await using run = await RunFolder.open(out);
    assert.equal(run.path, path);
    assert.deepEqual(readdirSync(path), ['run.lock']);
  });

  it('explains a home that cannot be written', async () => {
    process.env.LOAM_HOME = join(root, 'file');
    writeFileSync(process.env.LOAM_HOME, '');
    await assert.rejects(RunFolder.open(out), LoamError);
  });
});

describe('a run', () => {
  it('notes what it computes, and what that has become', async () => {
    await using run = await RunFolder.open(out);
    assert.match(String(await run.begun()), /run.json: there is no file here/);
    await run.start(identity);
    const begun = await run.begun();
    assert.ok(typeof begun === 'object');
    assert.deepEqual(begun.identity, identity);
    await run.record({ step: 1 });
    await run.goOn({ ...identity, changes: ['x'] });
    assert.deepEqual(await run.begun(), { identity: { ...identity, changes: ['x'] }, startedAt: begun.startedAt });
    assert.deepEqual(await run.metrics(), [{ step: 1 }]);
    await run.goOn(identity);
    const stored = JSON.parse(readFileSync(join(run.path, 'run.json'), 'utf8'));
    assert.deepEqual([stored.version, stored.identity], [1, identity]);
    assert.ok(Math.abs(Date.parse(stored.startedAt) - Date.now()) < 60_000);
  });

  for (const [text, pattern] of [
    ['{"version": 1, "ident', /damaged/],
    ['null', /lacks the identity/],
    ['{"version": 1, "identity": []}', /lacks the identity/],
    ['{"version": 2, "identity": {}}', /found version 2, expected 1/],
  ] as const) {
    it(`says what is wrong with a run.json of ${text}`, async () => {
      await using run = await RunFolder.open(out);
      await run.start(identity);
      writeFileSync(join(run.path, 'run.json'), text);
      const begun = await run.begun();
      assert.ok(typeof begun === 'string');
      assert.match(begun, pattern);
    });
  }

  it('begins with no metrics and no checkpoints, and keeps the metrics when it is over', async () => {
    await using run = await RunFolder.open(out);
    for (const round of [1, 2]) {
      await run.start(identity);
      assert.deepEqual(await run.metrics(), []);
      assert.deepEqual(await readCheckpoint(run.path), { damaged: [] });
      await run.record({ type: 'step', round });
      assert.equal(await run.hasCheckpoints(), false);
      for (const step of [1, 2]) await writeCheckpoint(run.path, 'auto', { step }, new Map());
      assert.equal(await run.hasCheckpoints(), true);
    }
    await run.finish();
    assert.deepEqual(readdirSync(run.path).sort(), ['metrics.jsonl', 'run.json', 'run.lock']);
    assert.deepEqual(await run.metrics(), [{ type: 'step', round: 2 }]);
    await run[Symbol.asyncDispose]();
    assert.equal(existsSync(join(run.path, 'run.lock')), false);
  });
});

describe('metrics', () => {
  it('are lines in the order of the calls, as the events were then', async () => {
    await using run = await RunFolder.open(out);
    await run.start(identity);
    const event = { type: 'step', step: 0, text: 'one\ntwo\u2028three' };
    const writes: Promise<void>[] = [];
    for (; event.step < 100; event.step++) writes.push(run.record(event));
    await Promise.all(writes);
    const events = await run.metrics();
    assert.deepEqual(
      events,
      Array.from({ length: 100 }, (_, step) => ({ ...event, step })),
    );
    assert.equal(readFileSync(run.metricsPath, 'utf8').trimEnd().split('\n').length, 100);
    if (process.platform !== 'win32') assert.equal(statSync(run.metricsPath).mode & 0o777, 0o600);
  });

  it('survive a torn last line, before and after more is recorded', async () => {
    await using run = await RunFolder.open(out);
    await run.start(identity);
    appendFileSync(run.metricsPath, '{"step":1}\n{"step":2,"lo');
    assert.deepEqual(await run.metrics(), [{ step: 1 }]);
    await run.record({ step: 3 });
    assert.deepEqual(await run.metrics(), [{ step: 1 }, { step: 3 }]);
  });

  it('are rewound to a checkpoint, and go on from there', async () => {
    await using run = await RunFolder.open(out);
    await run.start(identity);
    for (let step = 0; step < 10; step++) await run.record({ step, loss: 1 / (step + 3) });
    const text = readFileSync(run.metricsPath, 'utf8');
    appendFileSync(run.metricsPath, '{"step":10,');
    await run.rewindMetrics(({ step }) => (step as number) <= 6);
    for (let step = 7; step < 10; step++) await run.record({ step, loss: 1 / (step + 3) });
    assert.equal(readFileSync(run.metricsPath, 'utf8'), text);
  });

  it('are none where nothing was recorded', async () => {
    await using run = await RunFolder.open(out);
    assert.deepEqual(await run.metrics(), []);
    await run.rewindMetrics(() => true);
    assert.deepEqual(await run.metrics(), []);
  });

  it('explain a full disk', async () => {
    await using run = await RunFolder.open(out);
    using _ = await FileFaults.install(run.path, { at: 1, how: 'ENOSPC', from: true });
    await assert.rejects(
      run.record({ step: 1 }),
      (error) => error instanceof LoamError && /disk is full/.test(error.message),
    );
  });

  it('follow no link to a file elsewhere', async () => {
    await using run = await RunFolder.open(out);
    const elsewhere = join(root, 'elsewhere');
    writeFileSync(elsewhere, 'precious');
    symlinkSync(elsewhere, run.metricsPath);
    await assert.rejects(run.record({ step: 1 }), LoamError);
    assert.equal(readFileSync(elsewhere, 'utf8'), 'precious');
  });

  it('refuse an event that is no JSON as a rejection', async () => {
    await using run = await RunFolder.open(out);
    await assert.rejects(run.record({ big: 1n }), TypeError);
  });
});
