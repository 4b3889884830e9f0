import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openBase } from '../adapters/base.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { LoamError } from '../base/errors.js';
import { defaults } from '../base/options.js';
import { Engine } from '../engine/engine.js';
import { Desk, sayings } from '../testing/cli.js';
import { rounds } from '../testing/faults.js';
import { jsonLines } from '../testing/runLoam.js';
import type { TuneEvent } from './events.js';
import { type TuneOptions, tuneOptions } from './options.js';
import { tune } from './tune.js';

/** What decides a result: equal files where that is promised, a word where it is not. */

const desk = new Desk();
const small = { embedding: 32, heads: 4, kvHeads: 4, headDim: 8, feedForward: 64 };
const model = await desk.model('m.gguf', { layers: 2, ...small });
// Each example fills a micro-batch: a step of four accumulates four times.
const long = sayings(9).map((pair) => ({ ...pair, input: 'the inn in the theatre '.repeat(12) }));
const data = desk.file('d.json', long);
process.env.LOAM_CHECKPOINT_SECONDS = '0';
const options: TuneOptions = {
  ...defaults(tuneOptions),
  model,
  method: 'qlora',
  lr: 1e-2,
  loraPlus: 1,
  epochs: 3,
  batch: 4,
  runs: 1,
  patience: 99,
  threads: 1,
  skipGeneral: true,
};
const sha = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
const newHome = () => mkdtempSync(desk.path('home-'));

interface Outcome {
  events: TuneEvent[];
  out: string;
  error?: unknown;
}

/** A run in a home of its own, whose adapter has the same name in all. @param stopAt computation before which it is stopped */
async function run(home: string, more: Partial<TuneOptions> = {}, stopAt?: number): Promise<Outcome> {
  process.env.LOAM_HOME = home;
  const out = join(home, 'same.gguf');
  const stop = new AbortController();
  const { compute } = Engine.prototype;
  Engine.prototype.compute = async function (...args) {
    if (++computed === stopAt) stop.abort();
    return await compute.apply(this, args);
  };
  computed = 0;
  const events: TuneEvent[] = [];
  try {
    await tune(data, { ...options, ...more, out }, stop.signal).each((event) => events.push(event));
    return { events, out };
  } catch (error) {
    if (!(error instanceof LoamError)) throw error;
    return { events, out, error };
  } finally {
    Engine.prototype.compute = compute;
  }
}
let computed = 0;

const steps = ({ events }: Outcome) => events.flatMap((e) => (e.type === 'step' ? [[e.step, e.loss] as const] : []));
const warnings = ({ events }: Outcome) => events.flatMap((e) => (e.type === 'warning' ? [e.message] : []));
const isResumed = ({ events }: Outcome) => events.some(({ type }) => type === 'resumed');

const whole = await run(newHome());

const all = computed;
/** Within the last epoch. */
const late = Math.floor(0.85 * all);
const expected = sha(whole.out);

describe('a run that is stopped', () => {
  it('after any micro-batch goes on with the same examples in the same order, to the same file', async (t) => {
    const losses = new Map(steps(whole));
    assert.ok(all > 30, `${all} computations`);
    let [tried, survived, went] = [0, 0, 0];
    const first = rounds(Math.floor(all / 3), 1);
    for (let at = first; at <= all; at += rounds(Math.ceil(all / 2), 1)) {
      const home = newHome();
      const stopped = await run(home, {}, at);
      tried++;
      const last = await run(home);
      assert.equal(last.error, undefined, `at ${at}: ${last.error}`);
      for (const [step, loss] of [...steps(stopped), ...steps(last)]) {
        assert.equal(loss, losses.get(step), `at ${at}: step ${step} learns other examples`);
      }
      assert.equal(sha(last.out), expected, `at ${at}`);
      if (isResumed(last)) went++;
      survived++;
      rmSync(home, { recursive: true });
    }
    assert.ok(went > 0);
    t.diagnostic(`campaign 7: tried ${tried}, survived ${survived}; ${went} went on from a checkpoint`);
  });
});

describe('what decides a result', () => {
  it('is the same however often, and with the threads that a run began with', async (t) => {
    let [tried, survived] = [0, 0];
    for (const threads of rounds(2, 4) === 4 ? [1, 2, 4] : [1, 2]) {
      const files = new Set(threads === 1 ? [expected] : []);
      for (let i = 0; i < rounds(threads === 1 ? 0 : 1, 3); i++) {
        files.add(sha((await run(newHome(), { threads })).out));
        tried++;
      }
      const home = newHome();
      await run(home, { threads }, late);
      process.env.LOAM_THREADS = String(1 + (threads % 4));
      const resumed = await run(home, { threads: undefined });
      delete process.env.LOAM_THREADS;
      files.add(sha(resumed.out));
      tried++;
      assert.equal(files.size, 1, `${threads} threads`);
      assert.ok(isResumed(resumed));
      survived = tried;
    }
    t.diagnostic(`campaign 6: tried ${tried} runs on 1, 2 (and 4) threads, survived ${survived}`);
  });

  it('is named where it is another, and nothing is lost', async (t) => {
    const home = newHome();
    await run(home, {}, late);
    const folder = join(home, 'runs', readdirSync(join(home, 'runs'))[0]!);
    const noted = join(folder, 'run.json');
    const before = readFileSync(noted, 'utf8');
    const saved = mkdtempSync(desk.path('saved-'));
    cpSync(folder, saved, { recursive: true });
    type Noted = { identity: Record<string, unknown> & { kernels: Record<string, string>; options: object } };
    const named: [string, (run: Noted) => void][] = [
      ['version', ({ identity }) => Object.assign(identity, { version: '0.0.9' })],
      ['v8', ({ identity }) => Object.assign(identity, { v8: '9.9' })],
      ['kernels', ({ identity }) => Object.assign(identity.kernels, { AVX1024: '1' })],
      ['kernels.ggml', ({ identity }) => Object.assign(identity.kernels, { ggml: 'another release' })],
    ];
    const asked: [string, (run: Noted) => void][] = [
      ['data', ({ identity }) => Object.assign(identity, { data: 'x' })],
      ['model', ({ identity }) => Object.assign(identity, { model: 'x' })],
      ['start', ({ identity }) => Object.assign(identity, { start: 'x' })],
      ['options.rank', ({ identity }) => Object.assign(identity.options, { rank: 3 })],
      ['options.seed', ({ identity }) => Object.assign(identity.options, { seed: 3 })],
    ];
    let [tried, survived] = [0, 0];
    const change = (how: (run: Noted) => void) => {
      rmSync(folder, { recursive: true });
      cpSync(saved, folder, { recursive: true });
      const run = JSON.parse(before) as Noted;
      how(run);
      writeFileSync(noted, JSON.stringify(run));
      tried++;
    };
    for (const [name, how] of named) {
      change(how);
      const outcome = await run(home);
      assert.ok(isResumed(outcome), name);
      assert.ok(
        warnings(outcome).some((text) => text.includes(name) && /not be bit-identical/.test(text)),
        name,
      );
      const { recipe } = await openAdapter(outcome.out, await openBase(model));
      assert.match(JSON.stringify(recipe!.resumed), new RegExp(`not bit-identical since step \\d+: ${name}`));
      survived++;
    }
    for (const [name, how] of asked) {
      change(how);
      const files = () => readdirSync(folder).map((file) => sha(join(folder, file)));
      const untouched = files();
      const outcome = await run(home);
      assert.ok(outcome.error instanceof LoamError && outcome.error.code === 'confirm', name);
      assert.ok(outcome.error.message.includes(`${name}: found`), outcome.error.message);
      assert.deepEqual(files(), untouched, `${name}: something was removed or changed`);
      survived++;
    }
    change(() => {});
    const same = await run(home);
    assert.equal(sha(same.out), expected, 'as it was: the same file');
    t.diagnostic(`campaign 6: tried ${tried} differences, survived ${survived + 1}`);
  });

  const { cpu } = process.arch === 'x64' ? { cpu: /-(x64|sse42|haswell)\./ } : { cpu: /-(armv8\.0_1|armv8\.2_1)\./ };
  const platform = `${process.platform}-${process.arch}`;
  const bins = join(
    dirname(fileURLToPath(import.meta.url)),
    '../../node_modules/@node-llama-cpp',
    platform,
    'bins',
    platform,
  );
  const skip = existsSync(bins) ? rounds(1, 0) === 1 && 'in the long form' : `no engine for ${platform}`;
  it('names the kernels of another processor', { skip }, async (t) => {
    const older = join(desk.folder, 'older');
    cpSync(bins, older, { recursive: true, verbatimSymlinks: true });
    for (const name of readdirSync(older)) if (/ggml-cpu-/.test(name) && !cpu.test(name)) rmSync(join(older, name));
    const home = newHome();
    const args = ['--method', 'qlora', '--lr', '1e-2', '--runs', '1', '--patience', '99', '--threads', '1', '--json'];
    const tuned = (env: NodeJS.ProcessEnv, stopped = false) =>
      desk.run(['tune', data, '--model', model, ...args, '--out', join(home, 'same.gguf')], {
        home,
        env: { LOAM_CHECKPOINT_SECONDS: '0', ...env },
        ...(stopped && { stopWhen: { signal: 'SIGKILL', when: (text) => text.includes('"type":"step","step":3,') } }),
      });
    await tuned({}, true);
    const other = jsonLines(await tuned({ LOAM_GGML_DIR: older }));
    assert.ok(other.some(({ type }) => type === 'resumed'));
    const told = other.some(({ type, message }) => type === 'warning' && /kernels\./.test(String(message)));
    const has = (features: string) => readFileSync('/proc/cpuinfo', 'utf8').includes(features);
    // A processor that has no better kernels than the oldest makes no difference.
    if (existsSync('/proc/cpuinfo') && has('avx512')) assert.ok(told);
    t.diagnostic(`campaign 6: other kernels ${told ? 'named' : 'are the same here'}`);
  });
});
