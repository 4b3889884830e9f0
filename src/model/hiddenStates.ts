import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlockCipher } from '../util/blockCipher.js';
import { explainWriteError } from '../util/writeFileAtomic.js';

/** Bytes of activations kept in memory by all stores of this process together; a store that would exceed it uses a file. */
export const memoryBudget = 192 << 20;
let held = 0;

/**
 * Activations of many batches between two layers: one f32 block a batch. Kept in memory up to a budget, then in a temporary file
 * that has no name (deleted while open) and is encrypted with a key that only this object has, so that nothing of the user's can be read
 * from the disk. Windows can't delete an open file: there it has a name until it is closed, and a crash leaves it behind.
 */
export class HiddenStates implements AsyncDisposable {
  private readonly offsets: number[] = [];
  private memory: Float32Array[] | undefined;
  private file: FileHandle | undefined;
  private readonly cipher = new BlockCipher();

  private constructor(
    /** f32 values of each batch. */
    readonly sizes: readonly number[],
    inMemory: boolean,
  ) {
    let at = 0;
    for (const size of sizes) {
      this.offsets.push(at);
      at += 4 * size;
    }
    this.memory = inMemory ? sizes.map((size) => new Float32Array(size)) : undefined;
  }

  /** Room for batches of these sizes; in memory if no more than `budget` bytes are held then by all stores. */
  static async create(sizes: readonly number[], budget = memoryBudget, folder = tmpdir()): Promise<HiddenStates> {
    const total = 4 * sizes.reduce((sum, n) => sum + n, 0);
    const store = new HiddenStates(sizes, held + total <= budget);
    if (store.memory) held += total;
    if (!store.memory) {
      const path = join(folder, `loam-${process.pid}-${Math.random().toString(36).slice(2)}.tmp`);
      try {
        store.file = await open(path, 'wx+', 0o600);
      } catch (error) {
        throw explainWriteError(error, path);
      }
      // Windows refuses to delete an open file; there it is deleted on disposal.
      await rm(path).catch(() => {
        store.onClose = () => rm(path, { force: true });
      });
      store.path = path;
    }
    return store;
  }
  private onClose: (() => Promise<void>) | undefined;
  private path = '';

  get bytes(): number {
    return 4 * this.sizes.reduce((sum, n) => sum + n, 0);
  }
  get inMemory(): boolean {
    return this.memory !== undefined;
  }

  /** The block of a batch. In memory it is the block itself, not a copy. */
  async read(batch: number): Promise<Float32Array> {
    if (this.memory) return this.memory[batch]!;
    const block = new Float32Array(this.sizes[batch]!);
    const bytes = new Uint8Array(block.buffer);
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await this.file!.read(bytes, done, bytes.length - done, this.offsets[batch]! + done);
      if (bytesRead === 0) throw new Error(`activations of batch ${batch} were read before they were written`);
      done += bytesRead;
    }
    this.cipher.decrypt(batch, bytes);
    return block;
  }

  async write(batch: number, block: Float32Array): Promise<void> {
    if (block.length !== this.sizes[batch]) throw new RangeError(`${block.length} values for batch ${batch}`);
    if (this.memory) {
      if (block !== this.memory[batch]) this.memory[batch]!.set(block);
      return;
    }
    const bytes = this.cipher.encrypt(batch, new Uint8Array(block.buffer, block.byteOffset, block.byteLength));
    try {
      let done = 0;
      while (done < bytes.length) {
        done += (await this.file!.write(bytes, done, bytes.length - done, this.offsets[batch]! + done)).bytesWritten;
      }
    } catch (error) {
      throw explainWriteError(error, this.path);
    }
  }

  /** Copies every batch into another store of the same sizes. */
  async copyTo(other: HiddenStates): Promise<void> {
    for (let batch = 0; batch < this.sizes.length; batch++) await other.write(batch, await this.read(batch));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.memory) held -= this.bytes;
    this.memory = undefined;
    await this.file?.close();
    await this.onClose?.();
    this.file = undefined;
  }
}
