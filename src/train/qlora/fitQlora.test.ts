import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { linearsOf } from '../../families/family.js';
import { llama } from '../../families/llama.js';
import { sharedOpening } from '../../model/batch.js';
import type { ModuleFactors } from '../../model/factors.js';
import { linearShape } from '../../model/hyperparameters.js';
import { Model } from '../../model/model.js';
import { rounds } from '../../testing/faults.js';
import { plainNll } from '../../testing/plainNll.js';
import { scratchFolder } from '../../testing/scratch.js';
import { writeTinyModel } from '../../testing/tinyModel.js';
import { fitQlora, type QloraHooks } from './fitQlora.js';
import { rateAt } from './optimiser.js';
import type { QloraEvent, QloraProblem, QloraSettings, QloraState } from './state.js';
import type { TrainSequence } from './trainStep.js';

const engine = new Engine({ threads: 1 });
after(() => engine[Symbol.dispose]());
const folder = scratchFolder();
const path = await writeTinyModel(`${folder}/tiny.gguf`, {
  layers: 3,
  embedding: 32,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  feedForward: 48,
});

const random = new Random(5);
const tokens = (n: number) => Int32Array.from({ length: n }, () => 3 + random.below(262));
const opening = tokens(9);
/** Sequences that begin alike; what follows is random, its second half is to be learnt. */
function draw(count: number, before = opening): TrainSequence[] {
  return Array.from({ length: count }, (_, i) => {
    const own = tokens(before.length + 8 + (i % 4));
    own.set(before);
    const first = before.length + 4;
    return { tokens: own, targets: Int32Array.from({ length: own.length - first }, (_, k) => first + k) };
  });
}

/** Seven examples in steps of two: the last step of an epoch has one. */
const train = draw(7);
/** Some of what is learnt: its loss falls with the training loss. */
const seen: QloraProblem = { train, validation: train.slice(0, 3) };
/** Nothing of what is learnt: its loss rises sooner or later. */
const unseen: QloraProblem = { train, validation: draw(4) };
/** Other sequences that begin alike, on which the model is to predict as before. */
const replay = [0, 2, 3].map((i): TrainSequence => {
  const { tokens, targets } = train[i]!;
  return { tokens: tokens.map((t, at) => (at < opening.length ? t : 3 + ((7 * t) % 262))), targets };
});
const reminded: QloraProblem = { ...seen, replay };

const settings: QloraSettings = {
  firstLayer: 1,
  modules: linearsOf(llama),
  rank: 4,
  alpha: 4,
  rsLora: false,
  learningRate: 1e-2,
  loraPlus: 1,
  epochs: 2,
  batch: 2,
  keptBytes: 1 << 20,
  microTokens: 24,
  dropout: 0,
  warmup: 0.1,
  rateFloor: 0.1,
  averaging: 0,
  runs: 1,
  keptRank: 8,
  learnValidation: false,
  weightDecay: 0.01,
  clip: 1,
  evaluations: 2,
  patience: 100,
  replay: 1,
  seed: 1,
  transposedType: 'f16',
  streamType: 'f32',
};

type During = (event: QloraEvent, hooks: QloraHooks) => void;

/** A training run with all that it tells; `during` is called with every event and may change the hooks. */
async function fit(
  problem: QloraProblem,
  changed: Partial<QloraSettings> = {},
  hooks: QloraHooks = {},
  { during, on = engine, signal }: { during?: During; on?: Engine; signal?: AbortSignal } = {},
) {
  await using model = await Model.open(on, path);
  const events: QloraEvent[] = [];
  const states: QloraState[] = [];
  const all: QloraHooks = {
    ...hooks,
    afterStep: async (step, state) => {
      const copy = structuredClone(state());
      assert.equal(copy.step, step);
      states.push(copy);
    },
  };
  const emit = (event: QloraEvent) => {
    events.push(event);
    during?.(event, all);
  };
  const result = await fitQlora({ model, emit, signal }, problem, { ...settings, ...changed }, all);
  return { result, events, states };
}
type Run = Awaited<ReturnType<typeof fit>>;

/** Steps and validations, with NaN for what no number could be told of. */
const number = (figure: number | null) => figure ?? Number.NaN;
const stepsOf = (events: readonly QloraEvent[]) =>
  events.flatMap((e) =>
    e.type === 'step' ? [{ ...e, loss: number(e.loss), gradientNorm: number(e.gradientNorm) }] : [],
  );
const validationsOf = (events: readonly QloraEvent[]) =>
  events.flatMap((e) => (e.type === 'validation' ? [{ ...e, nll: number(e.nll) }] : []));
const divergedOf = (events: readonly QloraEvent[]) => events.filter((e) => e.type === 'diverged');

/** Overfits early, so that there is time for further runs. */
const several: Partial<QloraSettings> = { runs: 3, epochs: 10, learningRate: 3e-2, patience: 1, keptRank: 5 };

/** The problem begun again from factors that know the examples well, so that large steps can only do harm. */
let knowing: Promise<QloraProblem> | undefined;
function learnt(): Promise<QloraProblem> {
  knowing ??= fit(seen, { epochs: 15 }).then(({ result }) => ({ ...seen, start: result.modules }));
  return knowing;
}
async function headStart(): Promise<QloraProblem> {
  const { start, ...problem } = await learnt();
  return { ...problem, alternative: start };
}
/** The problem's factors with B = 0. */
const nothing = ({ start }: QloraProblem): ModuleFactors[] =>
  start!.map((module) => ({ ...module, factors: { ...module.factors, b: module.factors.b.map(() => 0) } }));
/** Learning rates of which the first makes losses too large and the second makes them no numbers. */
const ruinous = [30, 1e9] as const;

/** What was told after a step, without what depends on the clock or on where a process began. */
const toldAfter = (events: readonly QloraEvent[], step: number) =>
  events
    .filter((e) => e.type !== 'progress' && e.step > step)
    .map((e) => (e.type === 'step' ? { ...e, tokensPerSecond: 0 } : e));

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;

/** Mean NLL by a plain forward pass, which knows nothing of training. */
async function measure(sequences: readonly TrainSequence[], modules: readonly ModuleFactors[] = []): Promise<number> {
  await using model = await Model.open(engine, path);
  return mean(await plainNll(model, sequences, modules));
}

function assertFinite(modules: readonly ModuleFactors[]): void {
  for (const { factors } of modules) assert.ok([...factors.a, ...factors.b].every(Number.isFinite));
}

/** The run of which `resumed` is the end, from the state after `step` on. */
function assertContinues(resumed: Run, whole: Run, step: number): void {
  assert.deepEqual(resumed.result, whole.result);
  assert.deepEqual(toldAfter(resumed.events, step), toldAfter(whole.events, step));
  const later = (run: Run) => run.states.filter((state) => state.step > step);
  assert.deepEqual(later(resumed), later(whole));
}

describe('training', () => {
  it('lowers the loss, and returns the factors that give what it says', async () => {
    const { result, events } = await fit(seen, { epochs: 6 });
    const losses = stepsOf(events).map(({ loss }) => loss);
    const [first, last] = [mean(losses.slice(0, 4)), mean(losses.slice(-4))];
    assert.ok(last < 0.7 * first, `training loss from ${first} to ${last}`);
    assert.equal(result.ended, 'schedule');
    assert.equal(result.steps, 24);
    // Activations that enter the first trained layer are kept in f16.
    const before = await measure(seen.validation);
    const [begin] = validationsOf(events);
    assert.ok(Math.abs(begin!.nll - before) < 1e-3 * before, `${begin!.nll} at first, ${before} by a plain pass`);
    const after = await measure(seen.validation, result.modules);
    assert.ok(
      Math.abs(result.best.validation - after) < 2e-3 * after,
      `${result.best.validation}, ${after} by a plain pass`,
    );
    assert.ok(after < 0.7 * before);
    for (const { layer, module, factors } of result.modules) {
      await using model = await Model.open(engine, path);
      assert.ok(layer >= settings.firstLayer);
      assert.deepEqual([factors.inputs, factors.outputs], linearShape(model.hyper, module, layer));
      assert.equal(factors.rank, settings.rank);
    }
    assert.equal(result.modules.length, 2 * settings.modules.length);
    assertFinite(result.modules);
  });

  it('tells each step with its epoch, learning rate and the loss before it', async () => {
    const { events } = await fit(seen, { batch: 7, epochs: 5, warmup: 0.4 });
    const steps = stepsOf(events);
    assert.deepEqual(
      steps.map(({ step, steps: total, epoch }) => [step, total, epoch]),
      [1, 2, 3, 4, 5].map((k) => [k, 5, k]),
    );
    for (const { step, learningRate, gradientNorm, tokensPerSecond } of steps) {
      assert.ok(Math.abs(learningRate - settings.learningRate * rateAt(step, 5, 2, settings.rateFloor)) < 1e-12);
      assert.ok(gradientNorm > 0 && tokensPerSecond > 0);
    }
    // All examples in one step: the mean over their targets, not over examples.
    const before = await measure(train);
    assert.ok(Math.abs(steps[0]!.loss - before) < 1e-3 * before, `${steps[0]!.loss}, ${before} by a plain pass`);
  });

  it('says how far it is, forwards only, up to all of it', async () => {
    const { events } = await fit(seen);
    const progress = events.filter((e) => e.type === 'progress');
    progress.forEach(({ done, total }, i) => {
      assert.equal(total, progress[0]!.total);
      assert.ok(done <= total && (i === 0 || done >= progress[i - 1]!.done));
    });
    const { done, total } = progress.at(-1)!;
    assert.ok(done > 0.999 * total, `${done} of ${total}`);
  });

  it('says how far it is when it goes on, too', async () => {
    const { states } = await fit(seen);
    const { events } = await fit(seen, {}, { resume: states.find(({ step }) => step === 4)! });
    const { done, total } = events.filter((e) => e.type === 'progress').at(-1)!;
    assert.ok(done > 0.999 * total, `${done} of ${total}`);
  });

  it('validates so often an epoch, and at the end', async () => {
    // Four steps an epoch.
    for (const [evaluations, epochs, wanted] of [
      [1, 2, [0, 4, 8]],
      [2, 2, [0, 2, 4, 6, 8]],
      [100, 1, [0, 1, 2, 3, 4]],
      [1, 1.5, [0, 4, 6]],
    ] as const) {
      const { events } = await fit(seen, { evaluations, epochs });
      const told = validationsOf(events);
      assert.deepEqual(
        told.map(({ step }) => step),
        wanted,
      );
      for (const { step, epoch } of told) assert.equal(epoch, step / 4);
    }
  });

  it('returns the state that validated best, not the last one', async () => {
    const { result, events, states } = await fit(unseen, { epochs: 6, learningRate: 3e-2, warmup: 0.02 });
    const told = validationsOf(events);
    const least = told.reduce((best, e) => (e.nll < best.nll ? e : best));
    assert.ok(least.step > 0 && least.step < result.steps, `best at ${least.step} of ${result.steps}`);
    assert.deepEqual(result.best, { step: least.step, validation: least.nll });
    let lowest = Infinity;
    for (const { nll, best } of told) {
      assert.equal(best, nll < lowest);
      lowest = Math.min(lowest, nll);
    }
    const after = await measure(unseen.validation, result.modules);
    assert.ok(Math.abs(least.nll - after) < 2e-3 * after, `${least.nll}, ${after} by a plain pass`);
    const kept = states.find(({ step }) => step === least.step)!;
    assert.deepEqual(states.at(-1)!.best.b, kept.parameters.b);
    assert.notDeepEqual(states.at(-1)!.parameters.b, kept.parameters.b);
  });

  it('lets training examples choose if there is nothing to validate on', async () => {
    const { result, events } = await fit({ train, validation: [] }, { epochs: 6 });
    const lowest = Math.min(...validationsOf(events).map(({ nll }) => nll));
    assert.equal(result.best.validation, lowest);
    const [before, after] = [await measure(train), await measure(train, result.modules)];
    assert.ok(after < 0.7 * before, `training loss from ${before} to ${after}`);
  });

  it('predicts the answers to general examples better where it is reminded of them, and learns all the same', async () => {
    const changed = { epochs: 12 };
    const [free, held] = [await fit(seen, changed), await fit(reminded, { ...changed, replay: 2 })];
    const after = ({ result }: Run) => measure(replay, result.modules);
    assert.ok((await after(held)) < 0.8 * (await after(free)), `${await after(held)} for ${await after(free)}`);
    const base = await measure(train);
    const gain = async ({ result }: Run) => base - (await measure(train, result.modules));
    assert.ok((await gain(held)) > 0.6 * (await gain(free)), `${await gain(held)} ${await gain(free)}`);
  });

  it('counts only its own examples as learnt: more of the general ones are no more steps', async () => {
    const steps = async (problem: QloraProblem) =>
      stepsOf((await fit(problem)).events).map(({ step, epoch }) => [step, epoch]);
    assert.deepEqual(await steps(reminded), await steps(seen));
  });

  it('begins with the factors it is given', async () => {
    const first = await fit(seen);
    const start = first.result.modules;
    const { events } = await fit({ ...seen, start }, { epochs: 1 });
    const [begin] = validationsOf(events);
    assert.ok(Math.abs(begin!.nll - first.result.best.validation) < 1e-4, `${begin!.nll}`);
  });

  it('takes a scale of the adapter as a rate of B: alpha over rank, or over its root', async () => {
    const wanted = await fit(seen, { alpha: 4, loraPlus: 2 });
    const same = await fit(seen, { alpha: 8, loraPlus: 1 });
    assert.deepEqual(same.result, wanted.result);
    const root = await fit(seen, { alpha: 4, rsLora: true });
    assert.deepEqual(root.result, wanted.result);
    const other = await fit(seen, { alpha: 4 });
    assert.notDeepEqual(other.result, wanted.result);
  });

  it('trains the named linears only, of the layers from the first one on', async () => {
    const { result } = await fit(seen, { firstLayer: 2, modules: ['attn_v', 'ffn_down'] });
    assert.deepEqual(
      result.modules.map(({ layer, module }) => [layer, module]),
      [
        [2, 'attn_v'],
        [2, 'ffn_down'],
      ],
    );
    for (const { factors } of result.modules) assert.ok(factors.b.some((x) => x !== 0));
  });

  it('lowers rank to what a linear has', async () => {
    const { result } = await fit(seen, { rank: 64, alpha: 64, epochs: 0.5 });
    await using model = await Model.open(engine, path);
    for (const { module, factors } of result.modules) {
      assert.equal(factors.rank, Math.min(64, ...linearShape(model.hyper, module, 0)));
    }
  });

  it('of all layers, without anything shared, lowers the loss too', async () => {
    const apart = [0, 1, 2, 3].flatMap(() => draw(1, tokens(6)));
    assert.equal(sharedOpening(apart), 0);
    const problem = { train: apart, validation: apart };
    const { result, events } = await fit(problem, { firstLayer: 0, epochs: 10 });
    assert.ok(result.best.validation < 0.7 * validationsOf(events)[0]!.nll);
  });
});

describe('training is repeatable', () => {
  it('bit for bit, on one thread and on two', async () => {
    const first = await fit(seen);
    const second = await fit(seen);
    assertContinues(second, first, -1);
    using two = new Engine({ threads: 2 });
    const short = { epochs: 0.25, microTokens: 512 };
    const [third, fourth] = [await fit(seen, short, {}, { on: two }), await fit(seen, short, {}, { on: two })];
    assertContinues(fourth, third, -1);
  });

  it('and one that is reminded of nothing is the one that was never to be', async () => {
    const [plain, weightless] = [await fit(seen), await fit({ ...seen, replay: [] })];
    assertContinues(weightless, plain, -1);
  });

  it('and another seed is another run', async () => {
    const [first, second] = [await fit(seen), await fit(seen, { seed: 2 })];
    assert.notDeepEqual(second.result.modules, first.result.modules);
  });

  it('with dropout too, which changes it', async () => {
    const plain = await fit(seen);
    const first = await fit(seen, { dropout: 0.3 });
    assertContinues(await fit(seen, { dropout: 0.3 }), first, -1);
    assert.notDeepEqual(first.result.modules, plain.result.modules);
    assert.equal(validationsOf(first.events)[0]!.nll, validationsOf(plain.events)[0]!.nll, 'validation has no dropout');
    const losses = (run: Run) => stepsOf(run.events).map(({ loss }) => loss);
    assert.equal(losses(first)[0], losses(plain)[0], 'B is still zero');
    assert.notEqual(losses(first)[1], losses(plain)[1]);
  });
});

describe('several runs', () => {
  /** Σ B·A of flat values as they are stored, by module: [outputs][inputs] in one list. */
  const products = ({ a, b }: { a: Float32Array; b: Float32Array }, modules: readonly ModuleFactors[]) => {
    let [atA, atB] = [0, 0];
    const { rank } = settings;
    return modules.map(({ factors: { inputs, outputs } }) => {
      const out = Array.from({ length: outputs * inputs }, (_, at) => {
        const [o, i] = [Math.floor(at / inputs), at % inputs];
        let sum = 0;
        for (let r = 0; r < rank; r++) sum += b[atB + r * outputs + o]! * a[atA + r * inputs + i]!;
        return sum;
      });
      atA += rank * inputs;
      atB += rank * outputs;
      return out;
    });
  };

  it('are averaged: the mean of what each adds to the weights', async () => {
    const { result, events, states } = await fit(unseen, { ...several, keptRank: 64, learnValidation: true });
    assert.equal(result.runs, 3);
    const { best, finished, offset } = states.at(-1)!;
    assert.equal(finished.length, 2);
    const each = [best, ...finished].map((one) => products(one, result.modules));
    result.modules.forEach(({ factors }, module) => {
      const { inputs, rank, a, b } = factors;
      const wanted = each[0]![module]!.map((_, at) => mean(each.map((one) => one[module]![at]!)));
      const size = Math.max(...wanted.map(Math.abs));
      wanted.forEach((value, at) => {
        const [o, i] = [Math.floor(at / inputs), at % inputs];
        let found = 0;
        for (let r = 0; r < rank; r++) found += b[o * rank + r]! * a[r * inputs + i]!;
        assert.ok(Math.abs(found - value) <= 1e-4 * size, `${found} for ${value}`);
      });
    });
    assert.ok(offset > 0);
    const begun = events.filter((e) => e.type === 'run');
    assert.deepEqual(
      begun.map(({ run, runs }) => [run, runs]),
      [
        [2, 3],
        [3, 3],
      ],
    );
    // Each as many epochs as the first took to its best state, of all eleven examples.
    const epochs = result.best.step / 4;
    for (const { steps } of begun) assert.equal(steps, Math.round(epochs * 6));
    assert.equal(result.steps, begun[0]!.step + 2 * begun[0]!.steps);
    // Another order of examples and other first values.
    assert.notDeepEqual(finished[0], finished[1]);
  });

  it('are no more than the effort of half a schedule allows', async () => {
    // The best state is the last one: nothing was found out about a better length.
    const { result, events } = await fit(seen, { runs: 5, epochs: 2 });
    assert.equal(result.best.step, result.steps);
    assert.equal(result.runs, 1);
    assert.equal(events.filter((e) => e.type === 'run').length, 0);
  });

  it('have a mean that is kept only where validation finds it better than the first run', async () => {
    const { result, events, states } = await fit(unseen, { ...several, keptRank: 64 });
    const last = validationsOf(events).at(-1)!;
    assert.equal(last.step, result.steps, 'the mean was validated');
    assert.equal(result.runs, last.nll <= result.best.validation ? 3 : 1);
    assert.equal(states.at(-1)!.finished.length, 2);
    const found = await measure(unseen.validation, result.modules);
    assert.ok(Math.abs(found - Math.min(last.nll, result.best.validation)) < 1e-3, `${found}`);
  });

  it('learn the validation examples too where they may', async () => {
    const [without, learning] = [await fit(unseen, several), await fit(unseen, { ...several, learnValidation: true })];
    const after = async ({ states }: Run) => {
      const { finished } = states.at(-1)!;
      assert.equal(finished.length, 2);
      return finished;
    };
    assert.equal((await after(without)).length, (await after(learning)).length);
    assert.ok(
      (await measure(unseen.validation, learning.result.modules)) <
        (await measure(unseen.validation, without.result.modules)),
    );
  });

  it('that are stopped count with what they finished', async () => {
    const during = (event: QloraEvent, hooks: QloraHooks) => {
      if (event.type === 'run' && event.run === 3) hooks.deadline = performance.now() - 1;
    };
    const { result, events } = await fit(unseen, { ...several, learnValidation: true }, {}, { during });
    assert.equal(result.ended, 'budget');
    assert.equal(result.runs, 2);
    assert.equal(result.steps, events.filter((e) => e.type === 'run').at(-1)!.step);
  });
});

describe('an alternative beginning', () => {
  it('is taken where training without it is behind it at the first validation', async () => {
    const { result, events } = await fit(await headStart(), { learningRate: 1e-3, epochs: 2 });
    assert.equal(events.filter((e) => e.type === 'restart').length, 1);
    const [first, second, third] = validationsOf(events);
    assert.ok(second!.nll > first!.nll && !second!.best, 'behind');
    assert.ok(third!.nll < second!.nll, 'and then ahead');
    assert.equal(result.first, first!.nll);
    // Two epochs of four steps, after the two steps that were in vain; at half the rate.
    assert.equal(result.steps, 2 + 8);
    const rates = stepsOf(events).map(({ learningRate }) => learningRate);
    assert.equal(rates[2], rates[0]! / 2);
  });

  it('is not taken where training without it is ahead', async () => {
    const alternative = nothing(await learnt());
    const { result, events, states } = await fit({ ...seen, alternative });
    assert.equal(events.filter((e) => e.type === 'restart').length, 0);
    assert.equal(states.at(-1)!.alternative, undefined);
    // As if there had been none.
    const plain = await fit(seen);
    assert.deepEqual(result.modules, plain.result.modules);
  });

  it('is the result where nothing better was found', async () => {
    const { result } = await fit(await headStart(), {}, { deadline: performance.now() - 1 });
    assert.equal(result.best.step, 0);
    const found = await measure(seen.validation, result.modules);
    assert.ok(Math.abs(found - result.best.validation) < 1e-3);
    assert.ok(found < (await measure(seen.validation)) - 0.1);
  });
});

describe('training goes on from a saved state as if it had never stopped', () => {
  interface Case {
    problem: QloraProblem | (() => Promise<QloraProblem>);
    changed: Partial<QloraSettings>;
    dropout?: boolean;
  }
  const cases: Record<string, Case> = {
    'cached layers and a shared opening': { problem: seen, changed: {} },
    'all layers, computed again, a validation after every step': {
      problem: unseen,
      changed: { firstLayer: 0, evaluations: 100, learningRate: 3e-2, epochs: 1.5 },
    },
    'nothing to validate on': { problem: { train, validation: [] }, changed: { epochs: 1.5 } },
    'an end by validation': {
      problem: unseen,
      changed: { learningRate: 5e-2, epochs: 6, evaluations: 4, patience: 3 },
    },
    'two divergences, by losses too large': {
      problem: learnt,
      changed: { learningRate: ruinous[0], evaluations: 100, epochs: 6, warmup: 0 },
    },
    'two divergences, by losses that are no numbers': {
      problem: learnt,
      changed: { learningRate: ruinous[1], evaluations: 100, epochs: 6, warmup: 0 },
    },
    dropout: { problem: seen, changed: { dropout: 0.2 } },
    'an alternative that is ahead': { problem: headStart, changed: { ...several, learningRate: 1e-3, epochs: 3 } },
    'an alternative that is behind': {
      problem: async () => ({ ...unseen, alternative: nothing(await learnt()) }),
      changed: several,
    },
    'several runs': { problem: unseen, changed: several },
    'several runs, of which the later ones learn what validated': {
      problem: unseen,
      changed: { ...several, epochs: 3, learnValidation: true, dropout: 0.1 },
    },
    'general examples between': { problem: reminded, changed: { epochs: 4 } },
    'general examples between, several runs that learn what validated': {
      problem: { ...unseen, replay },
      changed: { ...several, epochs: 3, learnValidation: true },
    },
    'general examples between, from factors that know something': {
      problem: async () => ({ ...(await learnt()), replay }),
      changed: { epochs: 2, firstLayer: 0 },
    },
  };
  for (const [name, { problem: given, changed }] of Object.entries(cases)) {
    // Each third in the short form; LOAM_FAULTS=long takes all.
    it(`after any step: ${name}`, async () => {
      const problem = typeof given === 'function' ? await given() : given;
      const whole = await fit(problem, changed);
      const copies = structuredClone(whole.states);
      const later = whole.states.filter(({ step }) => step > 0);
      assert.ok(later.length >= 3, `${later.length} states`);
      for (const [i, state] of later.entries()) {
        if (i % rounds(3, 1) !== 0 && i !== later.length - 1) continue;
        assertContinues(await fit(problem, changed, { resume: state }), whole, state.step);
      }
      assert.deepEqual(whole.states, copies, 'a state is never changed once it is handed out');
    });
  }

  it('before the first step', async () => {
    const changed = { evaluations: 100, patience: 1, learningRate: ruinous[0], warmup: 0 };
    const problem = await learnt();
    const whole = await fit(problem, changed);
    const [start] = whole.states;
    assert.equal(start?.step, 0);
    assertContinues(await fit(problem, changed, { resume: start }), whole, 0);
  });

  const stops = async (wanted: (event: QloraEvent, index: number) => boolean) => {
    // Each sequence for itself: several batches per step.
    const changed = { epochs: 1, evaluations: 2, microTokens: 10 };
    const whole = await fit(seen, changed);
    let [stopped, told] = [0, 0];
    for (const [index, event] of whole.events.entries()) {
      if (!wanted(event, index)) continue;
      const controller = new AbortController();
      let state: QloraState | undefined;
      let count = 0;
      const hooks = {
        stopped: async (saved: QloraState) => {
          state = structuredClone(saved);
        },
      };
      const during = () => {
        if (count++ === index) controller.abort();
      };
      const ended = await fit(seen, changed, hooks, { during, signal: controller.signal }).then(
        () => 'to the end',
        (error: Error) => error.name,
      );
      // After the last batch there is nothing left to stop.
      const late = !whole.events.slice(index + 1).some((e) => e.type === 'progress');
      assert.equal(ended, late ? 'to the end' : 'StoppedError', `at event ${index}`);
      if (ended === 'StoppedError') stopped++;
      if (!state) continue;
      told++;
      const resumed = await fit(seen, changed, { resume: state });
      assertContinues(resumed, whole, state.step);
    }
    return { stopped, told };
  };

  it('where it was stopped in the middle of a step', async () => {
    let steps = 0;
    let validating = false;
    const { stopped, told } = await stops((event) => {
      if (event.type === 'validation') validating = false;
      if (event.type === 'step') {
        steps = event.step;
        validating = steps % 2 === 0;
      }
      // Not within the validations, nor where one has just begun.
      return event.type === 'progress' && steps > 0 && !validating;
    });
    assert.ok(stopped >= 4 && told === stopped, `${told} of ${stopped} told their state`);
  });

  it('where it was stopped between a step and its validation, or within that', async () => {
    let validating = false;
    const { stopped } = await stops((event) => {
      if (event.type === 'validation') validating = false;
      if (event.type === 'step') validating = event.step % 2 === 0;
      return validating;
    });
    assert.ok(stopped >= 2);
  });
});

describe('training ends', () => {
  for (const patience of [0, 1, 3]) {
    it(`when more than ${patience} validations in a row have brought nothing better`, async () => {
      const changed = { learningRate: 5e-2, epochs: 20, evaluations: 4, warmup: 0, patience };
      const { result, events } = await fit(unseen, changed);
      assert.equal(result.ended, 'validation');
      const told = validationsOf(events);
      const best = told.findIndex(({ step }) => step === result.best.step);
      assert.equal(told.length - 1 - best, patience + 1);
      assert.ok(told.slice(best + 1).every((e) => !e.best && e.nll >= result.best.validation));
      assert.equal(result.steps, told.at(-1)!.step);
      // Never so many in a row before.
      let row = 0;
      for (const e of told.slice(0, -1)) {
        row = e.best ? 0 : row + 1;
        assert.ok(row <= patience);
      }
    });
  }

  it('before the first step when there is no time at all', async () => {
    const { result, events } = await fit(seen, {}, { deadline: performance.now() - 1 });
    assert.equal(result.ended, 'budget');
    assert.deepEqual([result.steps, result.best.step, stepsOf(events).length], [0, 0, 0]);
    for (const { factors } of result.modules) assert.ok(factors.b.every((x) => x === 0));
  });

  it('after the step in hand when its time is over, with what is best then', async () => {
    const during = (event: QloraEvent, hooks: QloraHooks) => {
      if (event.type === 'step' && event.step === 3) hooks.deadline = performance.now() - 1;
    };
    const changed = { learningRate: 3e-3 };
    const { result, events, states } = await fit(seen, changed, {}, { during });
    assert.equal(result.ended, 'budget');
    assert.equal(result.steps, 3);
    assert.equal(stepsOf(events).length, 3);
    // Step 3 is none after which there would be a validation.
    assert.equal(validationsOf(events).at(-1)!.step, 3);
    const least = validationsOf(events).reduce((best, e) => (e.nll < best.nll ? e : best));
    assert.deepEqual(result.best, { step: least.step, validation: least.nll });
    // The schedule is still that of the whole run: what was saved goes on as if nothing had happened.
    assertContinues(await fit(seen, changed, { resume: states.at(-1)! }), await fit(seen, changed), 3);
  });

  it('without validating again what was just validated', async () => {
    const { events } = await fit(seen, {}, { deadline: performance.now() - 1 });
    assert.equal(validationsOf(events).length, 1);
  });

  for (const type of ['progress', 'validation', 'step'] as const) {
    it(`with StoppedError when given up at a ${type} event`, async () => {
      const controller = new AbortController();
      const during = (event: QloraEvent) => {
        if (event.type === type) controller.abort();
      };
      await assert.rejects(fit(seen, {}, {}, { during, signal: controller.signal }), { name: 'StoppedError' });
    });
  }
});

describe('training that diverges', () => {
  for (const learningRate of ruinous) {
    it(`at the rate ${learningRate} goes back to the best state at half of it, and the second time ends with that state`, async () => {
      const problem = await learnt();
      const { result, events, states } = await fit(problem, { learningRate, evaluations: 100, epochs: 6, warmup: 0 });
      assert.equal(result.ended, 'divergence');
      const [diverged, ...more] = divergedOf(events);
      assert.ok(diverged && more.length === 0);
      assert.equal(diverged.learningRate, learningRate / 2);
      const told = validationsOf(events);
      const least = told.reduce((best, e) => (e.nll < best.nll ? e : best));
      assert.deepEqual(result.best, { step: least.step, validation: least.nll });
      assert.equal(diverged.backTo, told.findLast((e) => e.best && e.step < diverged.step)!.step);
      assertFinite(result.modules);
      const after = await measure(problem.validation, result.modules);
      assert.ok(Math.abs(least.nll - after) < 1e-2 * after, `${least.nll}, ${after} by a plain pass`);
      assert.ok(after <= 1.01 * (await measure(problem.validation, problem.start)), 'no worse than at first');
      // The step that diverged changes nothing but the way back.
      const back = states.find(({ step }) => step === diverged.step)!;
      assert.deepEqual([back.rateFactor, back.since], [0.5, back.step]);
      assert.deepEqual([back.parameters.a, back.parameters.b], [back.best.a, back.best.b]);
      for (const moments of ['firstA', 'firstB', 'secondA', 'secondB'] as const) {
        assert.ok(back.parameters[moments].every((x) => x === 0));
      }
      const steps = stepsOf(events);
      assert.equal(steps.length, result.steps);
      for (const { step, steps: total, learningRate: rate } of steps) {
        const wanted = learningRate * rateAt(step, total, 0, settings.rateFloor) * (step > back.step ? 0.5 : 1);
        assert.ok(Math.abs(rate - wanted) < 1e-9 * learningRate, `step ${step}`);
      }
    });
  }

  for (const [name, spoil] of [
    ['values that are no numbers', (state: QloraState) => state.parameters.b.fill(Number.NaN)],
    ['values far too large', (state: QloraState) => state.parameters.b.fill(1e30)],
    ['a loss far above the lowest', (state: QloraState) => Object.assign(state, { smoothed: 60, lowest: 20 })],
  ] as const) {
    it(`by ${name} recovers, and goes on to its end with half the rate`, async () => {
      const { states } = await fit(seen, { epochs: 4 });
      const state = structuredClone(states.find(({ step }) => step === 5)!);
      spoil(state);
      const { result, events } = await fit(seen, { epochs: 4 }, { resume: state });
      const diverged = divergedOf(events);
      assert.deepEqual(
        diverged.map((e) => [e.step, e.backTo, e.learningRate]),
        [[6, state.best.step, settings.learningRate / 2]],
      );
      assert.ok(!Number.isFinite(stepsOf(events)[0]!.gradientNorm), 'the step itself was not taken');
      assert.equal(result.ended, 'schedule');
      assert.equal(result.steps, 16);
      assertFinite(result.modules);
      assert.ok(result.best.step > 6 && result.best.validation < state.best.validation);
      for (const { learningRate, step } of stepsOf(events).slice(1)) {
        assert.ok(
          Math.abs(learningRate - (settings.learningRate / 2) * rateAt(step, 16, 2, settings.rateFloor)) < 1e-12,
        );
      }
    });
  }

  it('does not end worse than it began if there is nothing to validate on', async () => {
    const { start } = await learnt();
    const before = await measure(train, start);
    for (const learningRate of ruinous) {
      const problem = { train, validation: [], start };
      const { result, events } = await fit(problem, { learningRate, evaluations: 100, epochs: 6, warmup: 0 });
      assert.ok(divergedOf(events).length > 0);
      assertFinite(result.modules);
      const after = await measure(train, result.modules);
      assert.ok(after <= 1.01 * before, `training loss from ${before} to ${after}`);
    }
  });
});
