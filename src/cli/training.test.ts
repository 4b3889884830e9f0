import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBase } from '../adapters/base.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { contents, Desk, sayings } from '../testing/cli.js';
import { jsonLines, type LoamRun, resultOf } from '../testing/runLoam.js';

/** Training by gradients from the command line: adapters, checkpoints, kills, stops and changes of mind. */

const desk = new Desk();
const model = await desk.model('base.gguf', { layers: 3 });
const data = desk.file('data.json', sayings(32));
const heldout = desk.file('heldout.json', sayings(9, 100));
// A rate for A and B alike that a tiny model learns quickly with.
const rates = ['--lr', '1e-2', '--lora-plus', '1'];
const flags = [
  '--model',
  model,
  '--threads',
  '1',
  '--method',
  'qlora',
  ...rates,
  '--patience',
  '99',
  '--skip-general',
  '--json',
];
/** A checkpoint after every step. */
const env = { LOAM_CHECKPOINT_SECONDS: '0' };
const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;

interface Nll {
  base: number;
  adapted: number;
}

/** The one run folder of an output. */
function runFolder(out: string): string {
  const runs = join(desk.home, 'runs');
  const name = out.slice(out.lastIndexOf('/') + 1, -'.gguf'.length);
  const found = readdirSync(runs).filter((entry) => entry.startsWith(`${name}-`));
  assert.equal(found.length, 1, `${found}`);
  return join(runs, found[0]!);
}
const checkpoints = (out: string) => readdirSync(runFolder(out)).filter((name) => name.startsWith('checkpoint'));
const at = (step: number) => (stdout: string) => stdout.includes(`"type":"step","step":${step},`);
const tune = (out: string, more: string[] = [], options: Parameters<Desk['run']>[1] = {}) =>
  desk.run(['tune', data, ...flags, '--out', out, '--epochs', '3', ...more], { env, ...options });
const warnings = (run: LoamRun) =>
  jsonLines(run)
    .filter(({ type }) => type === 'warning')
    .map(({ message }) => message as string);

const alone = join(desk.newFolder('alone'), 'same.gguf');
const whole = await tune(alone);
const expected = readFileSync(alone);

describe('training by gradients', () => {
  it('predicts better, keeps its metrics and no checkpoint', () => {
    const result = resultOf(whole);
    const { base, adapted } = result.nll as Nll;
    assert.ok(adapted < 0.9 * base, `${adapted} of ${base}`);
    const steps = jsonLines(whole).filter(({ type }) => type === 'step');
    assert.equal(steps.length, result.steps);
    const kept = readFileSync(join(runFolder(alone), 'metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    const told = kept.map((line) => JSON.parse(line) as { type: string; step: number });
    assert.deepEqual(
      told.filter(({ type }) => type === 'step').map(({ step }) => step),
      steps.map(({ step }) => step),
    );
    assert.deepEqual(checkpoints(alone), []);
    const quote = jsonLines(whole).find(({ type }) => type === 'quote')!;
    for (const name of ['seconds', 'memoryBytes', 'availableBytes']) assert.ok((quote[name] as number) > 0, name);
  });

  it('auto begins where ridge ends if it is asked for shots, and a report shows it', async () => {
    const out = join(desk.newFolder('auto'), 'auto.gguf');
    const report = join(desk.folder, 'report.html');
    const args = ['--method', 'auto', '--shots', '16', '--heldout', heldout, '--report', report];
    const run = await desk.run([
      'tune',
      data,
      ...flags.filter((flag) => flag !== '--method' && flag !== 'qlora'),
      '--out',
      out,
      '--epochs',
      '1',
      ...args,
    ]);
    const { nll, method } = resultOf(run);
    assert.equal(method, 'auto');
    assert.ok((nll as Nll).adapted < (nll as Nll).base);
    const types = new Set(jsonLines(run).map(({ type }) => type));
    for (const type of ['fitted', 'quote', 'step', 'validation']) assert.ok(types.has(type), type);
    const html = readFileSync(report, 'utf8');
    assert.match(html, /^<!doctype html>/i);
    assert.ok(html.includes('Say number'), 'a prompt is shown');
  });

  it('skill trains by gradients too, and training can begin with what it made', async () => {
    const folder = desk.newFolder('skill');
    const skill = join(folder, 'skill.gguf');
    const quick = ['--model', model, '--threads', '1', '--json'];
    resultOf(await desk.run(['skill', data, ...quick, ...rates, '--out', skill]));
    const out = join(folder, 'on.gguf');
    const run = await desk.run(['tune', data, ...flags, '--start', skill, '--epochs', '1', '--out', out]);
    resultOf(run);
    const [first] = jsonLines(run).filter(({ type }) => type === 'validation');
    const [bare] = jsonLines(whole).filter(({ type }) => type === 'validation');
    assert.ok((first!.nll as number) < 0.95 * (bare!.nll as number), 'it knows something before the first step');
  });

  it('a budget ends it with what is best by then', async () => {
    const out = join(desk.newFolder('budget'), 'budget.gguf');
    // More patience and layers than the time suffices for, so that nothing else ends it.
    const patient = [...flags.map((flag) => (flag === '99' ? '1000' : flag)), '--layers', 'all'];
    const run = await desk.run(['tune', data, ...patient, '--out', out, '--epochs', '1000', '--budget', '6s']);
    if (run.code === 0) assert.ok(warnings(run).some((message) => /budget of .* ended training/.test(message)));
    // On a machine so slow that nothing was learnt in time, that is said.
    else assert.match(run.stderr, /was not kept/);
  });

  it('refuses what cannot be', async () => {
    const out = join(desk.newFolder('refused'), 'a.gguf');
    const wrong = await tune(out, ['--targets', 'attn_q,mlp']);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--targets: "mlp", expected all, or some of attn_q/);
    const nothing = await tune(out, ['--resume']);
    assert.equal(nothing.code, 1);
    assert.match(nothing.stderr, /no stopped run of this output to resume; leave out --resume/);
    assert.equal(existsSync(out), false);
  });
});

describe('a run that was interrupted', { skip }, () => {
  it('killed three times and gone on with ends with the same file, bit for bit', async () => {
    const out = join(desk.newFolder('killed'), 'same.gguf');
    // The same name in another home, as the name stands in the file.
    const home = join(desk.folder, 'other home');
    for (const step of [3, 9, 16]) {
      const run = await tune(out, [], { home, stopWhen: { signal: 'SIGKILL', when: at(step) } });
      assert.equal(run.signal, 'SIGKILL');
      assert.equal(existsSync(out), false);
    }
    const last = await tune(out, ['--resume'], { home });
    resultOf(last);
    const resumed = jsonLines(last).find(({ type }) => type === 'resumed')!;
    assert.ok((resumed.step as number) >= 14, `${resumed.step}`);
    assert.ok(readFileSync(out).equals(expected));
  });

  it('stopped with Ctrl-C leaves the best adapter so far, and goes on to the same end', async () => {
    const out = join(desk.newFolder('stopped'), 'same.gguf');
    const home = join(desk.folder, 'third home');
    const run = await tune(out, [], { home, stopWhen: { signal: 'SIGINT', when: at(18) } });
    assert.equal(run.code, 130, run.stderr);
    assert.match(
      run.stderr,
      /the best adapter so far \(step \d+\) is saved, not yet measured; the same command goes on/,
    );
    const evaluated = await desk.run(['eval', data, '--model', model, '--adapter', out, '--json']);
    const { base, adapted } = resultOf(evaluated).nll as Nll;
    assert.ok(adapted < base);
    resultOf(await tune(out, [], { home }));
    assert.ok(readFileSync(out).equals(expected));
  });

  it('is left as it is where something changed, until somebody gives it up', async () => {
    const out = join(desk.newFolder('changed'), 'changed.gguf');
    await tune(out, [], { stopWhen: { signal: 'SIGKILL', when: at(4) } });
    const before = contents(runFolder(out));
    for (const [more, code] of [
      [['--resume', '--dropout', '0.1'], 'conflict'],
      [['--dropout', '0.1'], 'confirm'],
      [['--dropout', '0.1', '--method', 'ridge'], 'confirm'],
    ] as const) {
      const own = flags.filter((flag, i) => !(more.length > 2 && [flag, flags[i - 1]].includes('--method')));
      const refused = await desk.run(['tune', data, ...own, '--out', out, '--epochs', '3', ...more], { env });
      assert.equal(refused.code, 1);
      assert.equal(jsonLines(refused).at(-1)!.code, code);
      // One sentence: no full stop where its parts meet.
      assert.match(
        refused.stderr,
        /the stopped run of this output \(step \d+\) had other inputs or settings: .*options\.dropout: found 0\.1, expected 0; use what it had to go on with it, give it up and start over with --restart, or choose another --out\.\n/,
      );
      const kept = contents(runFolder(out));
      // What was being written when the run was killed has no name yet, and goes.
      const whole = [...before].filter(([path]) => /checkpoint-|run\.json/.test(path) && !path.endsWith('.tmp'));
      assert.ok(whole.length > 1);
      for (const [path, hash] of whole) assert.equal(kept.get(path), hash);
    }
    const anew = await tune(out, ['--dropout', '0.1', '--restart']);
    resultOf(anew);
    assert.equal(
      jsonLines(anew).some(({ type }) => type === 'resumed'),
      false,
    );
  });

  it('takes half of the cores where it is to be gentle', { skip }, async () => {
    const out = join(desk.newFolder('gentle'), 'gentle.gguf');
    const free = flags.filter((flag, i) => flag !== '--threads' && flags[i - 1] !== '--threads');
    const args = ['tune', data, ...free, '--out', out, '--epochs', '3', '--gentle'];
    const when = at(4);
    const stopped = await desk.run(args, { env: { ...env, LOAM_THREADS: '4' }, stopWhen: { signal: 'SIGKILL', when } });
    assert.ok(when(stopped.stdout), stopped.stderr);
    const { identity } = JSON.parse(readFileSync(join(runFolder(out), 'run.json'), 'utf8'));
    assert.equal(identity.threads, 2);
    const slow = await desk.run(args, { env: { ...env, LOAM_THREADS: '4' } });
    assert.equal(resultOf(slow).type, 'result');
  });

  it('goes on with the threads that it had, and says so where the last bits differ', async () => {
    const out = join(desk.newFolder('other device'), 'same.gguf');
    const home = join(desk.folder, 'fifth home');
    const threads = flags.filter((flag, i) => flag !== '--threads' && flags[i - 1] !== '--threads');
    const args = ['tune', data, ...threads, '--out', out, '--epochs', '3'];
    const on = (cores: number) => ({ home, env: { ...env, LOAM_THREADS: String(cores) } });
    await desk.run(args, { ...on(1), stopWhen: { signal: 'SIGKILL', when: at(4) } });
    const same = await desk.run(args, on(2));
    assert.ok(jsonLines(same).some(({ type }) => type === 'resumed'));
    assert.ok(
      warnings(same).some((message) => /goes on with the 1 thread that it began with; --threads 2/.test(message)),
    );
    assert.ok(readFileSync(out).equals(expected), 'with the number of threads it had: the same file');

    await desk.run(args, { ...on(1), stopWhen: { signal: 'SIGKILL', when: at(4) } });
    await desk.run([...args, '--threads', '2'], { ...on(1), stopWhen: { signal: 'SIGKILL', when: at(8) } });
    const other = await desk.run([...args, '--threads', '2'], on(1));
    resultOf(other);
    assert.ok(!warnings(other).some((message) => /bit-identical/.test(message)), 'told when it changed, and not again');
    const adapter = await openAdapter(out, await openBase(model));
    assert.deepEqual(
      (adapter.recipe!.resumed as string[]).map((text) => text.replace(/\d+/, 'N')),
      ['not bit-identical since step N: threads: found 2, expected 1'],
    );
  });

  it('that ended with nothing worth keeping does not hold up other settings', async () => {
    const out = join(desk.newFolder('nothing'), 'nothing.gguf');
    // No step begins in so little time.
    const nothing = await tune(out, ['--budget', '0.01s']);
    assert.match(nothing.stderr, /was not kept/);
    assert.deepEqual(checkpoints(out), []);
    resultOf(await tune(out));
  });

  it('goes on from the checkpoint before a damaged one', async () => {
    const out = join(desk.newFolder('damaged'), 'same.gguf');
    const home = join(desk.folder, 'fourth home');
    await tune(out, [], { home, stopWhen: { signal: 'SIGKILL', when: at(8) } });
    const folder = join(home, 'runs', readdirSync(join(home, 'runs'))[0]!);
    const found = readdirSync(folder).filter((name) => /^checkpoint-\d/.test(name));
    assert.equal(found.length, 2);
    const sequence = (name: string) =>
      Number(/"sequence":(\d+)/.exec(readFileSync(join(folder, name), 'latin1').slice(0, 4096))?.[1]);
    const newest = found.sort((a, b) => sequence(b) - sequence(a))[0]!;
    const bytes = readFileSync(join(folder, newest));
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(join(folder, newest), bytes);
    const run = await tune(out, ['--resume'], { home });
    resultOf(run);
    assert.ok(warnings(run).some((message) => message.includes(newest) && /damaged/.test(message)));
    assert.ok(readFileSync(out).equals(expected));
  });
});
