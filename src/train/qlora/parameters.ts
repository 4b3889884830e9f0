import { Random } from '../../base/random.js';
import type { Engine } from '../../engine/engine.js';
import type { Operations } from '../../engine/operations.js';
import type { Tensor, TensorBuffer } from '../../engine/tensor.js';
import type { LayerLinear } from '../../families/family.js';
import type { LayerLora } from '../../model/block.js';
import { type Factors, type ModuleFactors, transposed } from '../../model/factors.js';

/** One linear to adapt. */
export interface AdaptedModule {
  readonly layer: number;
  readonly module: LayerLinear;
  readonly inputs: number;
  readonly outputs: number;
  readonly rank: number;
}

interface Slot extends AdaptedModule {
  /** Offsets in f32 values into the flat tensors of all A and all B. */
  readonly atA: number;
  readonly atB: number;
}

/** Row length of the flat tensors: the optimiser shares rows among threads. */
const flatRow = 1024;
/** Random stream of the first values. */
const stream = 0x10fa;

/** What an optimiser keeps of one group of values. All are flat f32 of the same shape. */
export interface ParameterGroup {
  readonly values: Tensor;
  readonly gradient: Tensor;
  readonly first: Tensor;
  readonly second: Tensor;
  /** Exponential mean of the values over the steps. */
  readonly average: Tensor;
}

/** All A and all B as flat values. */
export interface FlatFactors {
  a: Float32Array;
  b: Float32Array;
}

/** Where each array of a state lies. */
const stored = {
  a: ['groupA', 'values'],
  b: ['groupB', 'values'],
  firstA: ['groupA', 'first'],
  firstB: ['groupB', 'first'],
  secondA: ['groupA', 'second'],
  secondB: ['groupB', 'second'],
  averageA: ['groupA', 'average'],
  averageB: ['groupB', 'average'],
} as const;
export const parameterNames = Object.keys(stored) as (keyof typeof stored)[];

/** Everything that must be saved to go on later. */
export type ParameterState = Record<keyof typeof stored, Float32Array>;

/**
 * LoRA factors under training, in native memory: all A and all B each in one flat tensor, with gradients and moments of the same
 * shape, so that an optimiser step is a few operations. The scale alpha/rank is folded into B: Adam does not see the scale of a
 * gradient, so training B with a learning rate s is the same as training B/s with 1 and multiplying by s.
 */
export class LoraParameters implements Disposable {
  private constructor(
    private readonly buffer: TensorBuffer,
    private readonly gradients: TensorBuffer | undefined,
    readonly slots: readonly Slot[],
    readonly groupA: ParameterGroup,
    readonly groupB: ParameterGroup,
  ) {}

  /** @param frozen nothing but values is kept, of which the mean is the same: for what is read and not trained */
  static create(engine: Engine, modules: readonly AdaptedModule[], { frozen = false } = {}): LoraParameters {
    const slots: Slot[] = [];
    let [atA, atB] = [0, 0];
    for (const module of modules) {
      slots.push({ ...module, atA, atB });
      atA += module.rank * module.inputs;
      atB += module.rank * module.outputs;
    }
    const buffer = engine.buffer(8);
    const gradients = frozen ? undefined : engine.buffer(2);
    const group = (size: number): ParameterGroup => {
      const dims = [flatRow, Math.max(1, Math.ceil(size / flatRow))];
      const values = buffer.parameter(dims);
      if (!gradients) return { values, gradient: values, first: values, second: values, average: values };
      return {
        values,
        gradient: gradients.tensor('f32', dims),
        first: buffer.tensor('f32', dims),
        second: buffer.tensor('f32', dims),
        average: buffer.tensor('f32', dims),
      };
    };
    const [groupA, groupB] = [group(atA), group(atB)];
    try {
      buffer.allocate({ zero: true });
      gradients?.allocate({ zero: true });
    } catch (error) {
      buffer[Symbol.dispose]();
      gradients?.[Symbol.dispose]();
      throw error;
    }
    return new LoraParameters(buffer, gradients, slots, groupA, groupB);
  }

  /** Trained values. */
  get count(): number {
    return this.slots.reduce((sum, { rank, inputs, outputs }) => sum + rank * (inputs + outputs), 0);
  }

  /** Bytes of values, gradients and moments. */
  get bytes(): number {
    return this.buffer.size + (this.gradients?.size ?? 0);
  }

  zeroGradients(): void {
    this.gradients?.clear();
  }

  /**
   * Starts from `known` factors if there are some, elsewhere from A uniform in ±1/√inputs and B = 0 (Hu et al. 2021, with the
   * initialisation of PEFT): the adapter then changes nothing yet. Known factors are balanced first, component by component, so that
   * A has the size it would have had: Adam's steps are of one size for all values and must suit both.
   */
  initialise(seed: number, known: readonly ModuleFactors[] = []): void {
    const a = new Float32Array(this.groupA.values.elements);
    const b = new Float32Array(this.groupB.values.elements);
    this.slots.forEach((slot, index) => {
      const { inputs, outputs, rank } = slot;
      const random = new Random(seed, stream + index);
      const bound = 1 / Math.sqrt(inputs);
      const start = known.find(({ layer, module }) => layer === slot.layer && module === slot.module)?.factors;
      const given = start ? Math.min(rank, start.rank) : 0;
      for (let r = 0; r < rank; r++) {
        const row = a.subarray(slot.atA + r * inputs, slot.atA + (r + 1) * inputs);
        if (r >= given || !start) {
          for (let i = 0; i < inputs; i++) row[i] = (2 * random.uniform() - 1) * bound;
          continue;
        }
        let norm = 0;
        for (let i = 0; i < inputs; i++) norm += start.a[r * inputs + i]! ** 2;
        // Root mean square of the uniform distribution above: bound/√3 per value, 1/√3 per row.
        const factor = norm > 0 ? Math.sqrt(1 / 3 / norm) : 1;
        for (let i = 0; i < inputs; i++) row[i] = start.a[r * inputs + i]! * factor;
        for (let o = 0; o < outputs; o++) b[slot.atB + r * outputs + o] = start.b[o * start.rank + r]! / factor;
      }
    });
    for (const name of ['values', 'average'] as const) {
      this.groupA[name].write(a);
      this.groupB[name].write(b);
    }
  }

  /** Gradients and moments of zero. */
  clear(): void {
    this.buffer.clear();
    this.gradients?.clear();
  }

  /** The factors of a layer (index into the model's layers) as parts of a graph. Fresh tensors for each graph. */
  views(
    ops: Operations,
    layer: number,
    which: 'values' | 'average' = 'values',
  ): { lora: LayerLora; slotOf: Map<Tensor, { slot: Slot; factor: 'a' | 'b' }> } {
    const lora: LayerLora = {};
    const slotOf = new Map<Tensor, { slot: Slot; factor: 'a' | 'b' }>();
    for (const slot of this.slots) {
      if (slot.layer !== layer) continue;
      const a = this.view(ops, this.groupA[which], slot, 'a');
      const b = this.view(ops, this.groupB[which], slot, 'b');
      slotOf.set(a, { slot, factor: 'a' });
      slotOf.set(b, { slot, factor: 'b' });
      lora[slot.module] = { a, b, scale: 1 };
    }
    return { lora, slotOf };
  }

  /** gradient += part, as an operation of the graph. */
  accumulate(ops: Operations, slot: Slot, factor: 'a' | 'b', part: Tensor): Tensor {
    const flat = factor === 'a' ? this.groupA.gradient : this.groupB.gradient;
    return ops.addInplace(this.view(ops, flat, slot, factor), part);
  }

  private view(ops: Operations, flat: Tensor, slot: Slot, factor: 'a' | 'b'): Tensor {
    const [width, rows, at] = factor === 'a' ? [slot.inputs, slot.rank, slot.atA] : [slot.outputs, slot.rank, slot.atB];
    return ops.view(flat, [width, rows], { offset: 4 * at, strides: [4 * width, 4 * width * rows, 4 * width * rows] });
  }

  /** The adapter as it is now. */
  factors(): ModuleFactors[] {
    return factorsOf(this.slots, { a: this.groupA.values.toFloat32(), b: this.groupB.values.toFloat32() });
  }

  /** The mean over the steps as flat values, which is what is kept. */
  current(): FlatFactors {
    return { a: this.groupA.average.toFloat32(), b: this.groupB.average.toFloat32() };
  }

  private tensor(name: keyof typeof stored): Tensor {
    const [group, part] = stored[name];
    return this[group][part];
  }

  /** Where it lies: valid until the next step. */
  state(): ParameterState {
    const arrays = parameterNames.map((name) => [name, this.tensor(name).floats()]);
    return Object.fromEntries(arrays) as ParameterState;
  }

  restore(state: ParameterState): void {
    for (const name of parameterNames) this.tensor(name).write(state[name]);
    this.zeroGradients();
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
    this.gradients?.[Symbol.dispose]();
  }
}

/** Factors from the flat values. */
export function factorsOf(slots: readonly Slot[], { a, b }: FlatFactors): ModuleFactors[] {
  return slots.map(({ layer, module, inputs, outputs, rank, atA, atB }) => {
    const factors: Factors = {
      inputs,
      outputs,
      rank,
      a: a.slice(atA, atA + rank * inputs),
      b: transposed(b.subarray(atB, atB + rank * outputs), rank, outputs),
    };
    return { layer, module, factors };
  });
}
