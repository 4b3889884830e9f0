import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Engine } from '../ggml/engine.js';
import { Random } from '../util/random.js';
import { type AdamWSettings, adamwStep } from './adamw.js';
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
    const before = parameters.state();
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
    const before = parameters.state();
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
      const before = parameters.state();
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
    const before = parameters.state();
    const step = { step: 1, scale: 1, rateA: 1e-2, rateB: 1e-2 };
    await assert.rejects(adamwStep(workspace, parameters, settings, step, AbortSignal.abort()), {
      name: 'StoppedError',
    });
    assert.deepEqual(parameters.state(), before);
  });
});
