import type { Engine } from '../ggml/engine.js';
import type { TensorBuffer } from '../ggml/tensorBuffer.js';
import type { LayerLinear } from './architecture.js';
import type { LayerLora } from './block.js';

/** Low-rank factors of one linear in LoRA's layout (Hu et al. 2021): ΔW = B·A, any scale folded in. */
export interface Factors {
  readonly inputs: number;
  readonly outputs: number;
  readonly rank: number;
  /** `rank` rows of `inputs` values. */
  readonly a: Float32Array;
  /** `outputs` rows of `rank` values. */
  readonly b: Float32Array;
}

/** Factors with the linear they correct. */
export interface ModuleFactors {
  readonly layer: number;
  readonly module: LayerLinear;
  readonly factors: Factors;
}

/** A dense matrix of `rows` rows of `columns` values with rows and columns exchanged. */
export function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j]!;
  return out;
}

/** The factors of one layer in memory that graphs can use. */
export class PlacedLora implements Disposable {
  readonly lora: LayerLora;
  private readonly buffer: TensorBuffer | undefined;

  constructor(engine: Engine, modules: readonly Pick<ModuleFactors, 'module' | 'factors'>[]) {
    const used = modules.filter(({ factors }) => factors.rank > 0);
    const lora: LayerLora = {};
    this.lora = lora;
    if (used.length === 0) return;
    this.buffer = engine.buffer(2 * used.length);
    const placed = used.map(({ module, factors }) => ({
      module,
      factors,
      a: this.buffer!.tensor('f32', [factors.inputs, factors.rank]),
      b: this.buffer!.tensor('f32', [factors.outputs, factors.rank]),
    }));
    this.buffer.allocate();
    for (const { module, factors, a, b } of placed) {
      a.write(factors.a);
      b.write(transposed(factors.b, factors.outputs, factors.rank));
      lora[module] = { a, b, scale: 1 };
    }
  }

  [Symbol.dispose](): void {
    this.buffer?.[Symbol.dispose]();
  }
}

/** The factors of each layer, in one list a layer. */
export function byLayer(modules: readonly ModuleFactors[], layers: number): ModuleFactors[][] {
  const lists: ModuleFactors[][] = Array.from({ length: layers }, () => []);
  for (const module of modules) lists[module.layer]?.push(module);
  return lists;
}
