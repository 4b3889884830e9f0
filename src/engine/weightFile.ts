import { writeAll } from '../base/io.js';
import { openUnnamed, type Unnamed } from '../base/spillFile.js';
import type { Engine } from './engine.js';
import { readPointer, viewMemory, writePointer } from './ffi.js';
import type { BufferHandle } from './ggmlBindings.js';
import { canMap, type MappedFile, mapPart, mapUnit } from './memory.js';
import { foreignBuild, native } from './native.js';
import type { Linear, Placed } from './placement.js';
import { Arena, bufferOffset, MappedTensor, standIn, type Tensor } from './tensor.js';

/** Offsets in `struct ggml_tensor` (ggml.h of the pinned release). */
const dataOffset = 248n;
const extraOffset = 320n;

/** Bytes written at once. */
const chunk = 4 << 20;

/** Whether weights lie in a file: not where they are in another memory than the processor's, or files can't be mapped. */
export function weightsInFile(engine: Engine): boolean {
  return engine.main === engine.cpu && canMap;
}

/**
 * Placed weights in a temporary file instead of memory: mapped, so that they are multiplied where they lie, and the system can drop
 * their pages when memory is short and read them again when they are needed. Model weights are no secret of the user's: unlike what
 * is spilled, they are not encrypted.
 */
export class WeightFile implements AsyncDisposable {
  private end = 0;

  private constructor(
    private readonly file: Unnamed,
    private readonly engine: Engine,
  ) {}

  /** A file in the engine's scratch folder; undefined where there can't be one (`weightsInFile`). */
  static async create(engine: Engine): Promise<WeightFile | undefined> {
    if (!weightsInFile(engine)) return undefined;
    return new WeightFile(await openUnnamed(engine.scratch), engine);
  }

  /** Bytes of disk. */
  get bytes(): number {
    return this.end;
  }

  /**
   * The same linear with its weights in this file; the one given is used up.
   * @throws LoamError when the disk is full
   */
  async keep(linear: Linear): Promise<Linear> {
    try {
      return await linear.moved((tensor) => this.move(tensor));
    } catch (error) {
      linear[Symbol.dispose]();
      throw error;
    }
  }

  private async move(tensor: Tensor): Promise<Placed> {
    const { ggml } = native();
    const data = ggml.tensorData(tensor.handle);
    if (data === null || data !== readPointer(tensor.handle + dataOffset)) {
      throw foreignBuild('these libraries lay out tensors differently', native().files);
    }
    const buffer = readPointer(tensor.handle + bufferOffset) as BufferHandle;
    const bytes = Number(ggml.bufferAllocSize(buffer, tensor.handle));
    const at = this.end;
    for (let from = 0; from < bytes; from += chunk) {
      const part = new Uint8Array(viewMemory(data + BigInt(from), Math.min(chunk, bytes - from)));
      await this.file.write((file) => writeAll(file, part, at + from));
    }
    this.end += Math.ceil(bytes / mapUnit) * mapUnit;
    const mapped = await mapPart(this.file.handle, this.file.path, at, bytes);
    const type = ggml.bufferTypeOf(buffer);
    if (type === this.engine.cpu.plain.handle) {
      const plain = new MappedTensor(tensor.type, tensor.ne, mapped.address);
      return { tensor: plain.tensor, buffer: owner(mapped, plain) };
    }
    const arena = new Arena(1);
    const moved = arena.tensor(tensor.type.name, tensor.ne);
    // There is one: a tensor lies in a buffer of this type.
    writePointer(moved.handle + bufferOffset, standIn(type)!);
    writePointer(moved.handle + dataOffset, mapped.address);
    // What multiplies it: chosen by the buffer type when the tensor was placed.
    writePointer(moved.handle + extraOffset, readPointer(tensor.handle + extraOffset));
    return { tensor: moved, buffer: owner(mapped, arena) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

function owner(mapped: MappedFile, description: Disposable): Placed['buffer'] {
  return {
    release: () => mapped.release(0, mapped.size),
    [Symbol.dispose]() {
      description[Symbol.dispose]();
      mapped[Symbol.dispose]();
    },
  };
}
