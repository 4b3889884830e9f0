import type { Engine } from '../engine/engine.js';
import type { Workspace } from '../engine/graph.js';
import { type MappedFile, mapFile } from '../engine/memory.js';
import type { Operations } from '../engine/operations.js';
import { type Linear, placeComputed, placeLinear, placePlain, type WeightSource } from '../engine/placement.js';
import type { Tensor } from '../engine/tensor.js';
import { tensorTypes } from '../engine/tensorTypes.js';
import { type Gguf, type GgufFile, openTensors } from '../formats/gguf/Gguf.js';

/** Types that keep a transposed matrix close enough for gradients. */
export type TransposedType = 'q8_0' | 'bf16' | 'f16';

/** Reads and places the weights of one model file, tensor by tensor. */
export class Weights implements AsyncDisposable {
  private buffer = new Uint8Array(0);

  private constructor(
    readonly engine: Engine,
    readonly gguf: Gguf,
    private readonly file: GgufFile,
    private readonly mapped: MappedFile | undefined,
  ) {}

  static async open(engine: Engine, gguf: Gguf): Promise<Weights> {
    const mapped = await mapFile(gguf.path);
    try {
      return new Weights(engine, gguf, await openTensors(gguf), mapped);
    } catch (error) {
      mapped?.[Symbol.dispose]();
      throw error;
    }
  }

  has(name: string): boolean {
    return this.gguf.tensors.has(name);
  }

  private source(name: string): WeightSource {
    const tensor = this.gguf.tensor(name);
    return {
      type: tensor.type,
      shape: tensor.shape,
      address: this.mapped ? this.mapped.address + BigInt(tensor.offset) : undefined,
      read: () => {
        // One growing buffer for all reads: a repacked weight is copied out of it before the next read.
        if (this.buffer.byteLength < tensor.bytes) this.buffer = new Uint8Array(tensor.bytes);
        return this.file.read(name, this.buffer);
      },
    };
  }

  /** A matrix in its fastest layout, from the tensor `name`. */
  linear(name: string): Promise<Linear> {
    return placeLinear(this.engine, this.source(name));
  }

  /**
   * A matrix as another type, in that type's fastest layout. From q4_1 to q8_0 the rounding (at most 1/254 of a block's largest value)
   * is far below that of the activations.
   */
  converted(name: string, type: TransposedType, workspace: Workspace, signal?: AbortSignal): Promise<Linear> {
    return this.rewritten(name, type, (_g, rows) => rows, workspace, signal);
  }

  /**
   * A matrix transposed, [outputs, inputs] in ggml's order, as another type in that type's fastest layout: what gradients multiply
   * with. The rounding to `type` is the only loss.
   */
  transposed(name: string, type: TransposedType, workspace: Workspace, signal?: AbortSignal): Promise<Linear> {
    return this.rewritten(name, type, (g, rows) => g.cont(g.transpose(rows)), workspace, signal);
  }

  private async rewritten(
    name: string,
    type: TransposedType,
    change: (g: Operations, rows: Tensor) => Tensor,
    workspace: Workspace,
    signal?: AbortSignal,
  ): Promise<Linear> {
    const { tensor, buffer } = await this.plain(name);
    using temporary = this.engine.buffer(1);
    try {
      const [, outputs] = tensor.ne;
      const g = workspace.begin();
      const ids = g.input(
        'i32',
        [outputs],
        Int32Array.from({ length: outputs }, (_, i) => i),
      );
      const changed = change(g, g.getRows(tensor, ids));
      // Rows that are no whole blocks, which no published model has, stay halves.
      const fits = changed.ne[0]! % tensorTypes[type].blockSize === 0;
      const into = temporary.tensor(fits ? type : 'f16', changed.ne.slice(0, 2));
      temporary.allocate();
      g.run(g.copy(changed, into));
      await g.compute(signal);
      return await placeComputed(this.engine, into);
    } finally {
      buffer[Symbol.dispose]();
    }
  }

  /** A tensor in the plain layout, mapped where possible: norms, biases, embedding tables. */
  async plain(name: string): Promise<{ tensor: Tensor; buffer: Disposable }> {
    return placePlain(this.engine, this.source(name));
  }

  /** Lets the system drop the pages of these tensors from memory. */
  release(names: Iterable<string>): void {
    if (!this.mapped) return;
    for (const name of names) {
      const tensor = this.gguf.tensors.get(name);
      if (tensor) this.mapped.release(tensor.offset, tensor.bytes);
    }
  }

  /** Tells the system that only a few rows of this tensor will be read at a time. */
  scatter(name: string): void {
    const { offset, bytes } = this.gguf.tensor(name);
    this.mapped?.scatter(offset, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.mapped?.[Symbol.dispose]();
    await this.file[Symbol.asyncDispose]();
  }
}
