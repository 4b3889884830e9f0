import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Engine } from '../ggml/engine.js';
import { toHalf } from '../ggml/halfRows.js';
import { type LayerLinear, layerLinears } from '../model/architecture.js';
import { type Batch, groupSequences } from '../model/batch.js';
import { linearShape } from '../model/hyperparameters.js';
import { LabelGradient } from '../model/labelGradient.js';
import type { ModuleFactors } from '../model/lora.js';
import { Model } from '../model/model.js';
import { sharedOpening } from '../model/sharedOpening.js';
import type { TransposedType } from '../model/weights.js';
import { scratchFolder } from '../testing/scratch.js';
import { type TinyModelOptions, writeTinyModel } from '../testing/tinyModel.js';
import { Random } from '../util/random.js';
import { adamwStep } from './adamw.js';
import { dropoutMasks } from './dropout.js';
import { enteringActivations } from './enteringActivations.js';
import { LoraParameters } from './parameters.js';
import { plainNll } from './plainNll.test.helper.js';
import { TrainableLayer } from './trainableLayer.js';
import {
  type Entering,
  type Masks,
  ownLengths,
  type TrainContext,
  type TrainSequence,
  trainNodes,
  trainStep,
} from './trainStep.js';

// Fast kernels: those of libllama round keys and values to f16, which has no gradient. On an f32 model all the same but for order.
const engine = new Engine({ threads: 1 });
const workspace = engine.workspace(trainNodes(4, 64));
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});

const folder = scratchFolder();
let files = 0;
const random = new Random(17);
const vocabulary = 265;
const tokens = (n: number) => Int32Array.from({ length: n }, () => 3 + random.below(vocabulary - 3));
const rank = 3;
const small = { embedding: 32, heads: 4, kvHeads: 2, headDim: 8, feedForward: 48 } as const;

interface Setup {
  model?: TinyModelOptions;
  /** First layer that gradients pass. */
  first?: number;
  modules?: readonly LayerLinear[];
  /** Layers whose linears are adapted; default: all from `first` on. */
  adapted?: readonly number[];
  start?: 'noise' | 'B is zero';
  transposed?: TransposedType;
}

type Rig = Omit<TrainContext, 'opening' | 'recompute'> & { factors: ModuleFactors[] };

/** A tiny model with factors that are all noise (so that no gradient is zero), and what a step needs. */
async function withRig(setup: Setup, use: (rig: Rig) => Promise<void>): Promise<void> {
  const path = await writeTinyModel(`${folder}/${files++}.gguf`, { ...small, ...setup.model });
  const owned: Disposable[] = [];
  const own = <T extends Disposable>(item: T) => {
    owned.push(item);
    return item;
  };
  await using model = await Model.open(engine, path);
  try {
    const { first = 0, modules = layerLinears, transposed = 'f16' } = setup;
    const layers: TrainableLayer[] = [];
    for (let l = first; l < model.hyper.layers; l++) {
      layers.push(own(await TrainableLayer.load(model, workspace, l, transposed)));
    }
    const labels = own(await LabelGradient.create(model, workspace, own(await model.head())));
    const adapted = setup.adapted ?? layers.map(({ index }) => index);
    const slots = adapted.flatMap((layer) =>
      modules.map((module) => {
        const [inputs, outputs] = linearShape(model.hyper, module);
        return { layer, module, inputs, outputs, rank };
      }),
    );
    const parameters = own(LoraParameters.create(engine, slots));
    const noise = slots.map(({ layer, module, inputs, outputs }) => ({
      layer,
      module,
      factors: {
        inputs,
        outputs,
        rank,
        a: new Float32Array(rank * inputs).map(() => random.normal() / Math.sqrt(inputs)),
        b: new Float32Array(outputs * rank).map(() => 0.2 * random.normal()),
      },
    }));
    parameters.initialise(1, setup.start === 'B is zero' ? [] : noise);
    await use({ model, workspace, layers, parameters, labels, factors: parameters.factors() });
  } finally {
    for (const item of owned.reverse()) item[Symbol.dispose]();
  }
}

/** Sequences that share their first `shared` tokens; some of what follows is to be learnt, and not all targets are neighbours. */
function draw(lengths: readonly number[], shared = 0): TrainSequence[] {
  const opening = tokens(shared);
  return lengths.map((length, i) => {
    const own = tokens(length);
    own.set(opening);
    const positions = Array.from({ length: length - shared - 2 }, (_, k) => shared + 2 + k);
    return { tokens: own, targets: Int32Array.from(positions.filter((p) => p === length - 1 || (p + i) % 4 > 0)) };
  });
}

/** All of them as one padded batch, whatever their lengths. */
function together(sequences: readonly TrainSequence[], opening = 0): Batch {
  const lengths = ownLengths(sequences, opening);
  return { members: lengths.map((_, i) => i), length: Math.max(...lengths), lengths };
}

interface How {
  opening?: number;
  recompute?: boolean;
  batches?: readonly Batch[];
  entering?: (batch: Batch) => Promise<Entering>;
  masks?: Masks;
}

/** NLL of every target, sequence by sequence in the caller's order, and with `train` the gradients of -Σ of them. */
async function step(rig: Rig, sequences: readonly TrainSequence[], how: How = {}, train = true) {
  const { opening = 0, recompute = false, masks } = how;
  const context: TrainContext = { ...rig, opening, recompute };
  const { groupA, groupB } = rig.parameters;
  rig.parameters.zeroGradients();
  const nll: number[][] = sequences.map(() => []);
  for (const batch of how.batches ?? [together(sequences, opening)]) {
    const values = await trainStep(context, batch, sequences, await how.entering?.(batch), { train, masks });
    let at = 0;
    for (const member of batch.members) {
      const count = sequences[member]!.targets.length;
      nll[member]!.push(...values.subarray(at, at + count));
      at += count;
    }
    assert.equal(at, values.length);
  }
  const [a, b] = [groupA.gradient.toFloat32(), groupB.gradient.toFloat32()];
  const parts = rig.parameters.slots.flatMap(({ layer, module, inputs, outputs, stored, atA, atB }) => [
    { name: `A of ${module} in layer ${layer}`, gradient: a.subarray(atA, atA + stored * inputs) },
    { name: `B of ${module} in layer ${layer}`, gradient: b.subarray(atB, atB + stored * outputs) },
  ]);
  return { nll: nll.flat(), a, b, parts };
}

const sum = (values: Iterable<number>) => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};
const rms = (values: Float32Array) => Math.sqrt(sum(values.map((x) => x * x)) / values.length);

/** Root mean square of the difference, relative to that of what is expected. */
function distance(got: Float32Array, wanted: Float32Array): number {
  assert.equal(got.length, wanted.length);
  return rms(got.map((x, i) => x - wanted[i]!)) / rms(wanted);
}

type Outcome = Awaited<ReturnType<typeof step>>;
function assertSame(got: Outcome, wanted: Outcome, tolerance: { nll: number; gradient: number }): void {
  assert.equal(got.nll.length, wanted.nll.length);
  got.nll.forEach((x, i) => {
    assert.ok(Math.abs(x - wanted.nll[i]!) <= tolerance.nll, `NLL ${i} is ${x}, expected ${wanted.nll[i]}`);
  });
  wanted.parts.forEach(({ name, gradient }, i) => {
    const d = distance(got.parts[i]!.gradient, gradient);
    assert.ok(d <= tolerance.gradient, `the gradient of ${name} differs by ${d} of its size`);
  });
}

/** Gradients pass weights in f16 and a head in bf16 or f16, which round what they multiply: sums in another order round otherwise. */
const rounding = { nll: 5e-5, gradient: 2e-3 };
/** Activations in f16: half a unit is 2⁻¹² to 2⁻¹¹ of a value. */
const halfRounding = { nll: 2e-2, gradient: 1e-2 };

/**
 * Central differences of the step's own NLL, for a few random values of A and B of every adapted linear. Gradients pass weights
 * kept in f16 and a head kept in bf16 or f16, hence the tolerance.
 */
async function checkDifferences(rig: Rig, sequences: readonly TrainSequence[], how: How, perFactor = 3): Promise<void> {
  const { groupA, groupB, slots } = rig.parameters;
  const { a, b } = await step(rig, sequences, how);
  // With masks the loss of the pass without gradients is another one.
  const loss = async () => sum((await step(rig, sequences, how, how.masks !== undefined)).nll);
  for (const { layer, module, inputs, outputs, stored, atA, atB } of slots) {
    const ofA = a.subarray(atA, atA + rank * inputs);
    const ofB = Float32Array.from(
      { length: outputs * rank },
      (_, i) => b[atB + Math.floor(i / rank) * stored + (i % rank)]!,
    );
    for (const [name, values, gradient, places] of [
      ['A', groupA.values, ofA, Array.from(ofA, (_, i) => atA + i)],
      ['B', groupB.values, ofB, Array.from(ofB, (_, i) => atB + Math.floor(i / rank) * stored + (i % rank))],
    ] as const) {
      const size = rms(gradient);
      assert.ok(size > 1e-3, `${module} of layer ${layer}: the gradient of ${name} is not trivially zero`);
      // Far enough for f32, near enough for a straight line.
      const epsilon = Math.min(1e-2, 0.05 / size);
      for (let trial = 0; trial < perFactor; trial++) {
        const k = random.below(gradient.length);
        const before = values.read(new Float32Array(1), 4 * places[k]!)[0]!;
        const at = async (x: number) => {
          values.write(Float32Array.of(x), 4 * places[k]!);
          return loss();
        };
        const numeric = -((await at(before + epsilon)) - (await at(before - epsilon))) / (2 * epsilon);
        values.write(Float32Array.of(before), 4 * places[k]!);
        const error = Math.abs(numeric - gradient[k]!);
        assert.ok(
          error < 1e-2 * (size + Math.abs(numeric)),
          `${module} of layer ${layer}, ${name}[${k}]: ${gradient[k]}, by differences ${numeric} (size ${size})`,
        );
      }
    }
  }
}

describe('the gradients of a step agree with finite differences', () => {
  const lengths = [11, 8, 12];
  const cases: Record<string, Setup & How & { shared?: number }> = {
    'grouped heads, the head tied to the embedding': {},
    'an untied head, biases, frequency factors': { model: { tied: false, biases: true, ropeFactors: true } },
    'one head of keys for all, four layers': { model: { kvHeads: 1, layers: 4 } },
    'as many heads of keys as of queries': { model: { kvHeads: 4 } },
    'heads whose widths add up to another one than the embedding': { model: { headDim: 16, heads: 6, kvHeads: 2 } },
    'a shared opening': { model: { biases: true, tied: false }, shared: 8, opening: 8 },
    'a shared opening, one head of keys, three layers': { model: { kvHeads: 1, layers: 3 }, shared: 9, opening: 9 },
    'a shared opening, computed again': { shared: 8, opening: 8, recompute: true, model: { layers: 3 } },
    'computed again': { recompute: true, model: { layers: 3 } },
    'only keys and values, of the first of three layers': {
      model: { layers: 3 },
      modules: ['attn_k', 'attn_v'],
      adapted: [0],
      shared: 8,
      opening: 8,
    },
    'only ffn_down, of the last of three layers': { model: { layers: 3 }, modules: ['ffn_down'], adapted: [2] },
    'only some linears, computed again': {
      model: { layers: 3 },
      modules: ['attn_q', 'ffn_up'],
      adapted: [1],
      recompute: true,
      shared: 8,
      opening: 8,
    },
  };
  for (const [name, { shared = 0, opening = 0, recompute, ...setup }] of Object.entries(cases)) {
    it(name, () =>
      withRig(setup, async (rig) => {
        const sequences = draw(
          lengths.map((n) => n + shared),
          shared,
        );
        await checkDifferences(rig, sequences, { opening, recompute });
      }),
    );
  }

  for (const opening of [0, 8]) {
    it(`dropout${opening ? ' and a shared opening' : ''}`, () =>
      withRig({}, async (rig) => {
        const sequences = draw(
          lengths.map((n) => n + opening),
          opening,
        );
        const masks = dropoutMasks(rig.model.hyper, layerLinears, 0.3, { seed: 1, step: 2, micro: 0 });
        await checkDifferences(rig, sequences, { opening, masks }, 2);
        const [kept, again] = [
          { opening, masks },
          { opening, masks, recompute: true },
        ];
        assertSame(await step(rig, sequences, again), await step(rig, sequences, kept), { nll: 0, gradient: 1e-6 });
      }));
  }
});

describe('a step', () => {
  it('with B zero has the NLL of the base model, and gradients of B alone', () =>
    withRig({ model: { tied: false, biases: true }, start: 'B is zero' }, async (rig) => {
      const sequences = draw([19, 17, 20], 8);
      const wanted = await plainNll(rig.model, sequences);
      for (const opening of [0, 8]) {
        for (const train of [false, true]) {
          const { nll, a, b } = await step(rig, sequences, { opening }, train);
          nll.forEach((x, i) => {
            assert.ok(Math.abs(x - wanted[i]!) < 2e-5, `NLL ${x}, by a plain forward pass ${wanted[i]}`);
          });
          assert.ok(a.every((x) => x === 0));
          assert.equal(
            b.some((x) => x !== 0),
            train,
          );
        }
      }
    }));

  it('has the NLL of a plain forward pass with the same factors', () =>
    withRig({ model: { ropeFactors: true, layers: 3 } }, async (rig) => {
      const sequences = draw([19, 17, 20], 8);
      const wanted = await plainNll(rig.model, sequences, rig.factors);
      const base = await plainNll(rig.model, sequences);
      assert.ok(
        wanted.some((x, i) => Math.abs(x - base[i]!) > 0.1),
        'the factors matter',
      );
      for (const opening of [0, 8]) {
        const { nll } = await step(rig, sequences, { opening }, false);
        nll.forEach((x, i) => {
          assert.ok(Math.abs(x - wanted[i]!) < 2e-5, `NLL ${x}, by a plain forward pass ${wanted[i]}`);
        });
      }
    }));

  it('gives the same NLL bit for bit whether gradients are taken or not, and without them adds none', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const trained = await step(rig, sequences);
      const measured = await step(rig, sequences, {}, false);
      assert.deepEqual(measured.nll, trained.nll);
      assert.ok(measured.a.every((x) => x === 0) && measured.b.every((x) => x === 0));
    }));

  for (const opening of [0, 8]) {
    const name = opening > 0 ? ' with a shared opening' : '';
    it(`that computes activations again gives the same${name}`, () =>
      withRig({ model: { layers: 4, biases: true } }, async (rig) => {
        const sequences = draw([19, 17, 20], opening);
        const kept = await step(rig, sequences, { opening });
        const again = await step(rig, sequences, { opening, recompute: true });
        assertSame(again, kept, { nll: 0, gradient: 1e-6 });
        const once = await step(rig, sequences, { opening });
        assert.deepEqual(once, kept, 'and the same step is the same bit for bit');
      }));
  }

  it('gives the same with a shared opening as without, whatever part of it is shared', () =>
    withRig({ model: { layers: 3, biases: true } }, async (rig) => {
      const sequences = draw([25, 22, 26, 23], 12);
      assert.equal(sharedOpening(sequences), 12);
      const wanted = await step(rig, sequences);
      for (const opening of [1, 8, 11, 12]) {
        assertSame(await step(rig, sequences, { opening }), wanted, rounding);
        assertSame(await step(rig, sequences, { opening, recompute: true }), wanted, rounding);
      }
    }));

  it('gives the same where the first prediction comes right after the opening', () =>
    withRig({}, async (rig) => {
      const sequences = draw([12, 11, 14], 9).map(({ tokens: ids }, i) => ({
        tokens: ids,
        targets: i === 0 ? Int32Array.of(10, 11) : Int32Array.of(ids.length - 1),
      }));
      const opening = sharedOpening(sequences);
      assert.equal(opening, 9);
      assertSame(await step(rig, sequences, { opening }), await step(rig, sequences), rounding);
    }));

  it('gives the same where a sequence has one token besides the opening', () =>
    withRig({ model: { layers: 3 } }, async (rig) => {
      const opening = tokens(10);
      // The only token beyond the opening's nine predicts nothing but the last one.
      const sequences = [
        { tokens: Int32Array.of(...opening, 40), targets: Int32Array.of(10) },
        { tokens: Int32Array.of(...opening, 41, 50, 51), targets: Int32Array.of(11, 12) },
      ];
      const shared = sharedOpening(sequences);
      assert.equal(shared, 9);
      const alone = groupSequences(ownLengths(sequences, shared), 1);
      assert.equal(alone.length, 2);
      const wanted = await step(rig, sequences);
      assertSame(await step(rig, sequences, { opening: shared, batches: alone }), wanted, rounding);
    }));

  for (const opening of [0, 8]) {
    const name = opening > 0 ? ' with a shared opening' : '';
    it(`is the sum over sequences, alone or in any padded company${name}`, () =>
      withRig({ model: { layers: 3 } }, async (rig) => {
        const sequences = draw([14, 25, 12, 19, 13], opening);
        const lengths = ownLengths(sequences, opening);
        const batchOf = (members: number[], length = Math.max(...members.map((i) => lengths[i]!))): Batch => ({
          members,
          length,
          lengths: members.map((i) => lengths[i]!),
        });
        const wanted = await step(rig, sequences, { opening, batches: [0, 1, 2, 3, 4].map((i) => batchOf([i])) });
        const others = [
          [batchOf([0, 1, 2, 3, 4])],
          [batchOf([4, 2, 3, 0, 1])],
          [batchOf([3, 1]), batchOf([0, 4, 2])],
          [batchOf([0, 1, 2, 3, 4], Math.max(...lengths) + 7)],
          groupSequences(lengths, 40),
        ];
        for (const batches of others) assertSame(await step(rig, sequences, { opening, batches }), wanted, rounding);
      }));
  }

  it('adds to the gradients that are there', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8]);
      const twice = together(sequences);
      const one = await step(rig, sequences);
      const two = await step(rig, [...sequences, ...sequences], {
        batches: [twice, { ...twice, members: twice.members.map((i) => i + 2) }],
      });
      assert.ok(
        distance(
          two.a,
          one.a.map((x) => 2 * x),
        ) < 1e-5,
      );
      assert.ok(
        distance(
          two.b,
          one.b.map((x) => 2 * x),
        ) < 1e-5,
      );
    }));

  for (const opening of [0, 8]) {
    const name = opening > 0 ? ' and a shared opening' : '';
    it(`from cached activations${name} is near the one that looks tokens up`, () =>
      withRig({ model: { layers: 4, biases: true }, first: 2 }, async (rig) => {
        const sequences = draw([19, 17, 20, 31], opening);
        // The same factors, but the layers below are part of the graph.
        const below: TrainableLayer[] = [];
        for (const l of [0, 1]) below.push(await TrainableLayer.load(rig.model, workspace, l, 'f16'));
        try {
          const looked = await step({ ...rig, layers: [...below, ...rig.layers] }, sequences, { opening });
          let passed = 0;
          const options = { firstLayer: 2, opening };
          await using cache = await enteringActivations(rig.model, workspace, sequences, options, (n) => {
            passed += n;
          });
          assert.ok(passed >= 2 * sum(ownLengths(sequences, opening)), `${passed} tokens passed a layer`);
          const entering = async (batch: Batch) => ({
            opening: opening > 0 ? cache.opening : undefined,
            own: await cache.gather(batch.members, batch.length),
          });
          const cached = await step(rig, sequences, { opening, entering });
          assertSame(cached, looked, halfRounding);
          assert.notDeepEqual(cached.nll, looked.nll);
          const batches = groupSequences(ownLengths(sequences, opening), 30);
          assertSame(await step(rig, sequences, { opening, entering, batches }), cached, rounding);
          assertSame(await step(rig, sequences, { opening, entering, recompute: true }), cached, {
            nll: 0,
            gradient: 1e-6,
          });
        } finally {
          for (const layer of below) layer[Symbol.dispose]();
        }
      }));
  }

  it('from the embeddings in f16 is near the one that looks tokens up', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const embedded = async (batch: Batch) => {
        const own = new Int32Array(batch.length * batch.members.length);
        batch.members.forEach((member, row) => {
          own.set(sequences[member]!.tokens, row * batch.length);
        });
        const g = workspace.begin();
        const x = g.output(rig.model.embed(g, g.input('i32', [own.length], own)));
        await g.compute();
        return { own: toHalf(x.toFloat32()) };
      };
      const wanted = await step(rig, sequences);
      assertSame(await step(rig, sequences, { entering: embedded }), wanted, halfRounding);
    }));

  for (const [transposed, tolerance] of [
    ['bf16', 1e-2],
    ['q8_0', 3e-2],
  ] as const) {
    it(`has nearly the same gradients with transposed weights in ${transposed}`, () =>
      withRig({ model: { headDim: 16, embedding: 64, feedForward: 96 }, transposed }, async (rig) => {
        const sequences = draw([11, 8, 12]);
        const found = await step(rig, sequences);
        const finer: TrainableLayer[] = [];
        for (const { index } of rig.layers) finer.push(await TrainableLayer.load(rig.model, workspace, index, 'f16'));
        try {
          const wanted = await step({ ...rig, layers: finer }, sequences);
          assertSame(found, wanted, { nll: 0, gradient: tolerance });
        } finally {
          for (const layer of finer) layer[Symbol.dispose]();
        }
      }));
  }

  it('leaves the padding of ranks at zero, and lowers the loss, through training', () =>
    withRig({ start: 'B is zero' }, async (rig) => {
      const { parameters } = rig;
      const sequences = draw([11, 8, 12]);
      const losses: number[] = [];
      for (let t = 1; t <= 4; t++) {
        const { nll, a, b } = await step(rig, sequences);
        losses.push(sum(nll) / nll.length);
        for (const [flatA, flatB] of [
          [a, b],
          [parameters.state().a, parameters.state().b],
          [parameters.state().secondA, parameters.state().secondB],
        ] as const) {
          for (const { inputs, outputs, stored, atA, atB } of parameters.slots) {
            assert.equal(stored, 16);
            assert.ok(flatA.subarray(atA + rank * inputs, atA + stored * inputs).every((x) => x === 0));
            const ofB = flatB.subarray(atB, atB + stored * outputs);
            assert.ok(ofB.every((x, i) => i % stored < rank || x === 0));
          }
        }
        const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, clip: 1, averaging: 0 };
        await adamwStep(workspace, parameters, settings, { step: t, scale: -1 / nll.length, rateA: 1e-2, rateB: 1e-2 });
      }
      for (let t = 1; t < losses.length; t++) assert.ok(losses[t]! < losses[t - 1]!, `losses ${losses}`);
    }));

  it('stops when asked', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const context = { ...rig, opening: 0, recompute: false };
      const options = { train: true, signal: AbortSignal.abort() };
      await assert.rejects(trainStep(context, together(sequences), sequences, undefined, options), {
        name: 'StoppedError',
      });
    }));
});
