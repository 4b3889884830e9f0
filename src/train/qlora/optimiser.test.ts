import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { type AdamWSettings, adamwStep, planEpoch, rateAt } from './optimiser.js';
import { type AdaptedModule, LoraParameters } from './parameters.js';

const engine = new Engine({ threads: 2, kernels: 'reference' });
const workspace = engine.workspace(64);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});

const random = new Random(21);
const modules: AdaptedModule[] = [
  { layer: 0, module: 'attn_q', inputs: 48, outputs: 40, rank: 5 },
  { layer: 1, module: 'ffn_down', inputs: 72, outputs: 24, rank: 16 },
];
const settings: AdamWSettings = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  clip: Infinity,
  averaging: 0,
};

/** Which of the flat values of A and of B are trained, and not padding. */
function real(parameters: LoraParameters): { a: boolean[]; b: boolean[] } {
  const { groupA, groupB } = parameters;
  const a = new Array<boolean>(groupA.values.elements).fill(false);
  const b = new Array<boolean>(groupB.values.elements).fill(false);
  for (const { rank, inputs, outputs, atA, atB } of parameters.slots) {
    a.fill(true, atA, atA + rank * inputs);
    b.fill(true, atB, atB + rank * outputs);
  }
  return { a, b };
}

/** Parameters with noise in both factors, and a way to draw gradients for them. */
function setUp() {
  const parameters = LoraParameters.create(engine, modules);
  parameters.initialise(3);
  const { groupA, groupB } = parameters;
  const where = real(parameters);
  groupB.values.write(new Float32Array(groupB.values.elements).map((_, i) => (where.b[i] ? random.normal() : 0)));
  const draw = (size = 1) => {
    const a = new Float32Array(where.a.length).map((_, i) => (where.a[i] ? size * random.normal() : 0));
    const b = new Float32Array(where.b.length).map((_, i) => (where.b[i] ? size * random.normal() : 0));
    groupA.gradient.write(a);
    groupB.gradient.write(b);
    return { a, b };
  };
  return { parameters, where, draw };
}

/** AdamW in f64, as Loshchilov and Hutter 2019 write it (algorithm 2, with the schedule in the rate). */
class PlainAdamW {
  private readonly m: Float64Array;
  private readonly v: Float64Array;
  readonly w: Float64Array;
  constructor(values: Float32Array) {
    this.w = Float64Array.from(values);
    this.m = new Float64Array(values.length);
    this.v = new Float64Array(values.length);
  }
  get moments() {
    return { first: this.m, second: this.v };
  }
  step(t: number, rate: number, gradient: Float64Array, s: AdamWSettings): void {
    const { m, v, w } = this;
    // The kernel is told its numbers in f32: of 1 - 0.999 that takes 1.3e-5.
    const [beta1, beta2] = [Math.fround(s.beta1), Math.fround(s.beta2)];
    for (let i = 0; i < w.length; i++) {
      m[i] = beta1 * m[i]! + (1 - beta1) * gradient[i]!;
      v[i] = beta2 * v[i]! + (1 - beta2) * gradient[i]! ** 2;
      const corrected = m[i]! / (1 - s.beta1 ** t);
      const spread = Math.sqrt(v[i]! / (1 - s.beta2 ** t));
      w[i] = w[i]! - rate * (corrected / (spread + s.epsilon) + s.weightDecay * w[i]!);
    }
  }
}

function assertNear(got: Float32Array, wanted: Float64Array, tolerance: number, name: string): void {
  const size = Math.sqrt(wanted.reduce((sum, x) => sum + x * x, 0) / wanted.length);
  got.forEach((x, i) => {
    assert.ok(Math.abs(x - wanted[i]!) <= tolerance * size, `${name}[${i}] is ${x}, expected ${wanted[i]}`);
  });
}

const variants: Record<string, Partial<AdamWSettings>> = {
  plain: {},
  'with weight decay': { weightDecay: 0.1 },
  'with clipping': { clip: 0.5, averaging: 0 },
  'with other betas, a large epsilon and everything at once': {
    beta1: 0.7,
    beta2: 0.95,
    epsilon: 1e-2,
    weightDecay: 0.05,
    clip: 0.8,
    averaging: 0,
  },
};

describe('AdamW', () => {
  it('keeps a mean of the values that weighs all steps much alike at first and forgets at the given rate later', async () => {
    const { parameters, draw } = setUp();
    using _owned = parameters;
    const { average, values } = parameters.groupA;
    const seen: Float32Array[] = [values.toFloat32()];
    const weight = 0.7;
    // How much of each state is in the mean, newest last; what it was begun with counts as a state.
    let shares = [1];
    for (let step = 1; step <= 12; step++) {
      draw();
      await adamwStep(
        workspace,
        parameters,
        { ...settings, averaging: weight },
        { step, scale: -1, rateA: 1e-2, rateB: 1e-2 },
      );
      seen.push(values.toFloat32());
      const past = step <= 7 ? step / (step + 3) : weight; // 7/10 is the first that reaches 0.7
      shares = [...shares.map((share) => share * past), 1 - past];
      const wanted = new Float64Array(values.elements);
      seen.forEach((state, i) => {
        for (let k = 0; k < wanted.length; k++) wanted[k]! += shares[i]! * state[k]!;
      });
      assertNear(average.toFloat32(), wanted, 1e-5, `mean at step ${step}`);
    }
  });

  for (const [name, changed] of Object.entries(variants)) {
    it(`${name} takes the steps that f64 takes, with a rate for A and one for B`, async () => {
      const { parameters, draw } = setUp();
      using _owned = parameters;
      const all = { ...settings, ...changed };
      const { groupA, groupB } = parameters;
      const [a, b] = [new PlainAdamW(groupA.values.toFloat32()), new PlainAdamW(groupB.values.toFloat32())];
      const scale = -1 / 37;
      let clipped = 0;
      for (let step = 1; step <= 6; step++) {
        // Sizes from small to large: some steps are clipped and some are not.
        const gradient = draw(0.02 * 2 ** step);
        const rateA = 1e-2 / step;
        const rateB = 3 * rateA;
        const squares = [...gradient.a, ...gradient.b].reduce((sum, x) => sum + x * x, 0);
        const norm = Math.abs(scale) * Math.sqrt(squares);
        const factor = scale * Math.min(1, all.clip / norm);
        if (norm > all.clip) clipped++;
        const returned = await adamwStep(workspace, parameters, all, { step, scale, rateA, rateB });
        assert.ok(Math.abs(returned - norm) < 1e-5 * norm, `norm ${returned}, expected ${norm}`);
        const scaled = (g: Float32Array) => Float64Array.from(g, (x) => factor * x);
        a.step(step, rateA, scaled(gradient.a), all);
        b.step(step, rateB, scaled(gradient.b), all);
        for (const [group, plain] of [
          [groupA, a],
          [groupB, b],
        ] as const) {
          assertNear(group.values.toFloat32(), plain.w, 1e-5, `values at step ${step}`);
          assertNear(group.first.toFloat32(), plain.moments.first, 1e-5, 'first moments');
          assertNear(group.second.toFloat32(), plain.moments.second, 1e-5, 'second moments');
          assert.ok(
            group.gradient.toFloat32().every((x) => x === 0),
            'gradients are zero afterwards',
          );
        }
      }
      if (all.clip < Infinity) assert.ok(clipped > 0 && clipped < 6, `${clipped} of 6 steps clipped`);
    });
  }

  it('moves every value by the rate at the first step, against the gradient', async () => {
    const { parameters, where, draw } = setUp();
    using _owned = parameters;
    const before = structuredClone(parameters.state());
    const gradient = draw();
    await adamwStep(workspace, parameters, settings, { step: 1, scale: 1, rateA: 1e-2, rateB: 5e-2 });
    const now = parameters.state();
    for (const [k, rate] of [
      ['a', 1e-2],
      ['b', 5e-2],
    ] as const) {
      now[k].forEach((x, i) => {
        const wanted = where[k][i] ? -rate * Math.sign(gradient[k][i]!) : 0;
        assert.ok(
          Math.abs(x - before[k][i]! - wanted) < 1e-4 * rate + 1e-6,
          `${k}[${i}] moved by ${x - before[k][i]!}`,
        );
      });
    }
  });

  it('only shrinks values when nothing but weight decay acts', async () => {
    const { parameters } = setUp();
    using _owned = parameters;
    const before = structuredClone(parameters.state());
    const all = { ...settings, weightDecay: 0.3 };
    const norm = await adamwStep(workspace, parameters, all, { step: 1, scale: 1, rateA: 0.1, rateB: 0.2 });
    assert.equal(norm, 0);
    const now = parameters.state();
    const shrunk = (values: Float32Array, rate: number) => Float64Array.from(values, (x) => x * (1 - 0.3 * rate));
    assertNear(now.a, shrunk(before.a, 0.1), 1e-6, 'a');
    assertNear(now.b, shrunk(before.b, 0.2), 1e-6, 'b');
  });

  it('leaves padding at zero', async () => {
    const { parameters, where, draw } = setUp();
    using _owned = parameters;
    assert.ok(where.a.includes(false) && where.b.includes(false));
    for (let step = 1; step <= 3; step++) {
      draw();
      const all = { ...settings, weightDecay: 0.1, clip: 1, averaging: 0 };
      await adamwStep(workspace, parameters, all, { step, scale: -1, rateA: 0.1, rateB: 0.1 });
    }
    const { a, b, firstA, firstB, secondA, secondB } = parameters.state();
    for (const [values, known] of [
      [a, where.a],
      [firstA, where.a],
      [secondA, where.a],
      [b, where.b],
      [firstB, where.b],
      [secondB, where.b],
    ] as const) {
      assert.ok(values.every((x, i) => (known[i] ? x !== 0 : x === 0)));
    }
  });

  for (const [poison, group] of [
    [Number.NaN, 'groupA'],
    [Number.NaN, 'groupB'],
    [Number.POSITIVE_INFINITY, 'groupA'],
    [Number.NEGATIVE_INFINITY, 'groupB'],
  ] as const) {
    it(`changes nothing where one gradient of ${group} is ${poison}, and says so by the norm`, async () => {
      const { parameters, draw } = setUp();
      using _owned = parameters;
      draw();
      const rates = { scale: -1, rateA: 1e-2, rateB: 1e-2 };
      await adamwStep(workspace, parameters, settings, { step: 1, ...rates });
      const before = structuredClone(parameters.state());
      draw();
      parameters[group].gradient.write(Float32Array.of(poison), 4 * 100);
      const norm = await adamwStep(
        workspace,
        parameters,
        { ...settings, clip: 1, averaging: 0 },
        { step: 2, ...rates },
      );
      assert.ok(!Number.isFinite(norm), `${norm}`);
      assert.deepEqual(parameters.state(), before);
      for (const { gradient } of [parameters.groupA, parameters.groupB]) {
        assert.ok(gradient.toFloat32().every((x) => x === 0));
      }
    });
  }

  it('changes nothing where it was stopped before', async () => {
    const { parameters, draw } = setUp();
    using _owned = parameters;
    draw();
    const before = structuredClone(parameters.state());
    const step = { step: 1, scale: 1, rateA: 1e-2, rateB: 1e-2 };
    await assert.rejects(adamwStep(workspace, parameters, settings, step, AbortSignal.abort()), {
      name: 'StoppedError',
    });
    assert.deepEqual(parameters.state(), before);
  });
});

const seededRandom = new Random(4);
const mixed = (count: number, from: number, to: number) =>
  Array.from({ length: count }, () => from + seededRandom.below(to - from + 1));

const cases = {
  'many short ones': { lengths: mixed(203, 5, 40), batch: 4, tokens: 512 },
  'some longer than what is computed at once': { lengths: mixed(60, 20, 300), batch: 8, tokens: 128 },
  'each alone': { lengths: mixed(17, 5, 40), batch: 1, tokens: 512 },
  'fewer than a step takes': { lengths: mixed(3, 5, 40), batch: 16, tokens: 512 },
  one: { lengths: [9], batch: 4, tokens: 512 },
  'all of one length': { lengths: Array.from({ length: 64 }, () => 32), batch: 16, tokens: 128 },
};

for (const [name, { lengths, batch, tokens }] of Object.entries(cases)) {
  const plan = (seed: number, epoch: number) => planEpoch(lengths, { batch, tokens, seed, epoch });

  describe(`the steps of an epoch: ${name}`, () => {
    for (const epoch of [0, 1, 5]) {
      const steps = plan(7, epoch);
      const membersOf = (step: (typeof steps)[number]) => step.flatMap((group) => group.members);

      it(`take every sequence once (epoch ${epoch})`, () => {
        const all = steps.flatMap(membersOf).sort((a, b) => a - b);
        assert.deepEqual(
          all,
          lengths.map((_, i) => i),
        );
      });

      it(`take so many examples each, but for one step (epoch ${epoch})`, () => {
        assert.equal(steps.length, Math.ceil(lengths.length / batch));
        const sizes = steps.map((step) => membersOf(step).length).sort((a, b) => b - a);
        const rest = lengths.length - batch * (steps.length - 1);
        assert.deepEqual(
          sizes,
          sizes.map((_, i) => (i < steps.length - 1 ? batch : rest)),
        );
      });

      it(`compute no more tokens at once than allowed, but for a sequence alone (epoch ${epoch})`, () => {
        for (const { members, length } of steps.flat()) {
          assert.ok(members.length === 1 || members.length * length <= tokens, `${members.length} of ${length}`);
        }
      });

      it(`say how long each member is, and pad little (epoch ${epoch})`, () => {
        for (const group of steps.flat()) {
          assert.deepEqual(
            group.lengths,
            group.members.map((i) => lengths[i]),
          );
          assert.equal(group.length, Math.max(...group.lengths));
          // A share of 0.15 of each member at most (maxPadding in src/model/batch.ts).
          for (const n of group.lengths) assert.ok(n >= 0.85 * group.length, `${n} padded to ${group.length}`);
        }
      });
    }

    it('are a function of seed and epoch', () => {
      assert.deepEqual(plan(7, 3), plan(7, 3));
      if (lengths.length < 10) return; // So few may be drawn in the same order twice.
      assert.notDeepEqual(plan(7, 3), plan(7, 4));
      assert.notDeepEqual(plan(7, 3), plan(8, 3));
    });
  });
}

describe('the steps of an epoch', () => {
  const lengths = mixed(203, 5, 40);
  const plan = (epoch: number) => planEpoch(lengths, { batch: 4, tokens: 512, seed: 7, epoch });
  const companions = (epoch: number) =>
    new Set(
      plan(epoch).map((step) =>
        step
          .flatMap(({ members }) => members)
          .sort((a, b) => a - b)
          .join(),
      ),
    );

  it('bring other examples together each time, not only the same ones in another order', () => {
    const first = companions(0);
    const again = [...companions(1)].filter((step) => first.has(step));
    assert.ok(again.length < 0.1 * first.size, `${again.length} of ${first.size} steps again`);
  });

  it('do not go from short to long', () => {
    const means = plan(0).map((step) => {
      const all = step.flatMap((group) => group.lengths);
      return all.reduce((sum, n) => sum + n, 0) / all.length;
    });
    const rises = means.filter((mean, i) => i > 0 && mean > means[i - 1]!).length;
    // A shuffled list rises at about half of its steps, a sorted one at all or none.
    assert.ok(rises > 0.3 * means.length && rises < 0.7 * means.length, `${rises} of ${means.length}`);
  });

  it('pad less than taking sequences as they come', () => {
    const groups = plan(0).flat();
    const computed = groups.reduce((sum, { members, length }) => sum + members.length * length, 0);
    const real = lengths.reduce((sum, n) => sum + n, 0);
    let plain = 0;
    for (let from = 0; from < lengths.length; from += 4) {
      const four = lengths.slice(from, from + 4);
      plain += four.length * Math.max(...four);
    }
    assert.ok(computed / real < 1.1 && computed < plain, `${computed} computed, ${plain} as they come, ${real} real`);
  });
});

const scheduleCases = [
  { total: 100, warmup: 10, floor: 0 },
  { total: 100, warmup: 10, floor: 0.1 },
  { total: 37, warmup: 1, floor: 0.05 },
  { total: 5, warmup: 5, floor: 0 },
  { total: 1, warmup: 1, floor: 0 },
];

describe('the learning rate', () => {
  for (const { total, warmup, floor } of scheduleCases) {
    const rates = Array.from({ length: total }, (_, i) => rateAt(i + 1, total, warmup, floor));
    const name = `of ${total} steps, ${warmup} of them rising, down to ${floor}`;

    it(`${name} rises in equal parts to the peak`, () => {
      for (let step = 1; step <= warmup; step++) {
        assert.ok(Math.abs(rates[step - 1]! - step / warmup) < 1e-12, `${rates[step - 1]} at step ${step}`);
      }
      assert.equal(rates[warmup - 1], 1);
    });

    it(`${name} then falls all the way, never out of [floor, 1]`, () => {
      for (let step = warmup + 1; step <= total; step++) {
        assert.ok(rates[step - 1]! < rates[step - 2]!, `step ${step}`);
        assert.ok(rates[step - 1]! >= floor && rates[step - 1]! <= 1);
      }
    });

    if (total > warmup) {
      it(`${name} ends at the floor`, () => assert.ok(Math.abs(rates.at(-1)! - floor) < 1e-12));

      it(`${name} is the same distance from the middle on either side of half the way`, () => {
        // cos(π(1 - x)) = -cos(πx): the two halves of the fall mirror one another.
        const middle = floor + (1 - floor) / 2;
        for (let k = 0; k <= total - warmup; k++) {
          const early = rateAt(warmup + k, total, warmup, floor);
          const late = rateAt(total - k, total, warmup, floor);
          assert.ok(Math.abs(early + late - 2 * middle) < 1e-12);
        }
      });
    }
  }

  it('stays at the floor beyond the last step', () => assert.ok(Math.abs(rateAt(1000, 100, 10, 0.2) - 0.2) < 1e-12));
});
