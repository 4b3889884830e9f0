import assert from 'node:assert/strict';
import { after } from 'node:test';
import { Random } from '../base/random.js';
import { Engine } from '../engine/engine.js';
import { Operations } from '../engine/operations.js';
import { type LayerLinear, linearsOf } from '../families/family.js';
import type { Batch } from '../model/batch.js';
import type { ModuleFactors } from '../model/factors.js';
import { Model } from '../model/model.js';
import type { TransposedType } from '../model/weights.js';
import { Products, Streams, type StreamType } from '../train/qlora/kept.js';
import { LoraParameters } from '../train/qlora/parameters.js';
import { adaptedModules, loadTrainable } from '../train/qlora/trainable.js';
import {
  type Entering,
  type Masks,
  ownLengths,
  type TrainContext,
  type TrainSequence,
  trainNodes,
  trainStep,
} from '../train/qlora/trainStep.js';
import { scratchFolder } from './scratch.js';
import { type TinyModelOptions, writeTinyModel } from './tinyModel.js';

/** A tiny model with noisy factors, one training step of it, and its gradients held against finite differences. */

// Fast kernels: those of libllama round keys and values to f16, which has no gradient. On an f32 model all the same but for order.
const engine = new Engine({ threads: 1 });
export const workspace = engine.workspace(
  trainNodes(512, { vocabulary: 265, delta: { keyHeads: 1, valueHeads: 1, headDim: 1 } }),
);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});

const folder = scratchFolder();
let files = 0;
export const random = new Random(17);
const vocabulary = 265;
export const tokens = (n: number) => Int32Array.from({ length: n }, () => 3 + random.below(vocabulary - 3));
export const rank = 3;
const small = { embedding: 32, heads: 4, kvHeads: 2, headDim: 8, feedForward: 48 } as const;

export interface Setup {
  model?: TinyModelOptions;
  /** First layer that gradients pass. */
  first?: number;
  modules?: readonly LayerLinear[];
  /** Layers whose linears are adapted; default: all from `first` on. */
  adapted?: readonly number[];
  start?: 'noise' | 'B is zero';
  transposed?: TransposedType;
  streamType?: StreamType;
  /** Bytes for products; default: all are kept. */
  kept?: number;
}

export type Rig = Omit<TrainContext, 'opening'> & { factors: ModuleFactors[] };

/** A tiny model with factors that are all noise (so that no gradient is zero), and what a step needs. */
export async function withRig(setup: Setup, use: (rig: Rig) => Promise<void>): Promise<void> {
  const path = await writeTinyModel(`${folder}/${files++}.gguf`, { ...small, ...setup.model });
  await using model = await Model.open(engine, path);
  const lab = { model, workspace, emit() {} };
  {
    const { first = 0, modules = linearsOf(model.hyper.family), transposed = 'f16', streamType = 'f32' } = setup;
    await using trained = await loadTrainable(lab, first, transposed);
    const { layers, labels } = trained;
    const adapted = setup.adapted ?? layers.map(({ index }) => index);
    const slots = adapted.flatMap((index) => adaptedModules(model, [{ index }], { modules, rank }));
    using parameters = LoraParameters.create(engine, slots);
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
    using streams = new Streams(model, streamType);
    using products = new Products(model, setup.kept ?? Number.POSITIVE_INFINITY);
    await use({ ...lab, layers, parameters, labels, streams, products, factors: parameters.factors() });
  }
}

/** Sequences that share their first `shared` tokens; some of what follows is to be learnt, and not all targets are neighbours. */
export function draw(lengths: readonly number[], shared = 0): TrainSequence[] {
  const opening = tokens(shared);
  return lengths.map((length, i) => {
    const own = tokens(length);
    own.set(opening);
    const positions = Array.from({ length: length - shared - 2 }, (_, k) => shared + 2 + k);
    return { tokens: own, targets: Int32Array.from(positions.filter((p) => p === length - 1 || (p + i) % 4 > 0)) };
  });
}

/** All of them as one padded batch, whatever their lengths. */
export function together(sequences: readonly TrainSequence[], opening = 0): Batch {
  const lengths = ownLengths(sequences, opening);
  return { members: lengths.map((_, i) => i), length: Math.max(...lengths), lengths };
}

export interface How {
  opening?: number;
  batches?: readonly Batch[];
  entering?: (batch: Batch) => Promise<Entering>;
  masks?: Masks;
}

/** NLL of every target, sequence by sequence in the caller's order, and with `train` the gradients of -Σ of them. */
export async function step(rig: Rig, sequences: readonly TrainSequence[], how: How = {}, train = true) {
  const { opening = 0, masks } = how;
  const context: TrainContext = { ...rig, opening };
  const { groupA, groupB } = rig.parameters;
  rig.parameters.zeroGradients();
  const nll: number[][] = sequences.map(() => []);
  for (const batch of how.batches ?? [together(sequences, opening)]) {
    const values = await trainStep(
      context,
      { batch, sequences, entering: await how.entering?.(batch) },
      { train, masks },
    );
    let at = 0;
    for (const member of batch.members) {
      const count = sequences[member]!.targets.length;
      nll[member]!.push(...values.subarray(at, at + count));
      at += count;
    }
    assert.equal(at, values.length);
  }
  const [a, b] = [groupA.gradient.toFloat32(), groupB.gradient.toFloat32()];
  const parts = rig.parameters.slots.flatMap(({ layer, module, inputs, outputs, atA, atB }) => [
    { name: `A of ${module} in layer ${layer}`, gradient: a.subarray(atA, atA + rank * inputs) },
    { name: `B of ${module} in layer ${layer}`, gradient: b.subarray(atB, atB + rank * outputs) },
  ]);
  return { nll: nll.flat(), a, b, parts };
}

export const sum = (values: Iterable<number>) => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};
export const rms = (values: Float32Array) => Math.sqrt(sum(values.map((x) => x * x)) / values.length);

/** Root mean square of the difference, relative to that of what is expected. */
export function distance(got: Float32Array, wanted: Float32Array): number {
  assert.equal(got.length, wanted.length);
  return rms(got.map((x, i) => x - wanted[i]!)) / rms(wanted);
}

type Outcome = Awaited<ReturnType<typeof step>>;
export function assertSame(got: Outcome, wanted: Outcome, tolerance: { nll: number; gradient: number }): void {
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
export const rounding = { nll: 5e-5, gradient: 2e-3 };
/** Activations in f16: half a unit is 2⁻¹² to 2⁻¹¹ of a value. */
export const halfRounding = { nll: 2e-2, gradient: 1e-2 };

/**
 * ggml looks gelu up in a table of f16 values, whose steps differences of neighbouring arguments see. Within `use` it is computed by
 * its formula (Hendrycks and Gimpel 2016) instead.
 */
export async function withExactGelu<T>(use: () => Promise<T>): Promise<T> {
  const { geglu } = Operations.prototype;
  Operations.prototype.geglu = function exact(this: Operations, gate, up) {
    const inner = this.add(gate, this.scale(this.mul(this.sqr(gate), gate), 0.044715));
    const half = this.scale(gate, 0.5);
    const t = this.tanh(this.scale(inner, Math.sqrt(2 / Math.PI)));
    return this.mul(this.add(half, this.mul(half, t)), up);
  };
  try {
    return await use();
  } finally {
    Operations.prototype.geglu = geglu;
  }
}

/**
 * Central differences of the step's own NLL, for a few random values of A and B of every adapted linear. Gradients pass weights
 * kept in f16 and a head kept in bf16 or f16, hence the tolerance.
 */
export async function checkDifferences(
  rig: Rig,
  sequences: readonly TrainSequence[],
  how: How,
  perFactor = 3,
): Promise<void> {
  const { groupA, groupB, slots } = rig.parameters;
  const { a, b } = await step(rig, sequences, how);
  // With masks the loss of the pass without gradients is another one.
  const loss = async () => sum((await step(rig, sequences, how, how.masks !== undefined)).nll);
  for (const { layer, module, inputs, outputs, atA, atB } of slots) {
    const ofA = a.subarray(atA, atA + rank * inputs);
    const ofB = b.subarray(atB, atB + rank * outputs);
    for (const [name, values, gradient, places] of [
      ['A', groupA.values, ofA, Array.from(ofA, (_, i) => atA + i)],
      ['B', groupB.values, ofB, Array.from(ofB, (_, i) => atB + i)],
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
