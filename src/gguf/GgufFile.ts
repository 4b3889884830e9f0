import type { FileHandle } from 'node:fs/promises';
import { LoamError } from '../util/errors.js';
import { bytes as asBytes, count } from '../util/format.js';
import { explainReadError, openRegularFile } from '../util/openRegularFile.js';
import { quote } from '../util/quote.js';
import { readFully } from '../util/readFully.js';
import type { Gguf, GgufTensor } from './Gguf.js';

/** Bytes a piece of `stream`, unless told otherwise: large enough for the disk, small beside a phone's memory. */
const PIECE_BYTES = 4 * 1024 * 1024;

/** An open file whose tensors can be read, several at a time if need be. `await using file = await openTensors(gguf)`. */
export class GgufFile {
  private closed = false;

  /** Use `openTensors`. */
  constructor(
    readonly gguf: Gguf,
    private readonly file: FileHandle,
  ) {}

  /**
   * Bytes of one tensor, as stored. With `into` (at least as long) they are put there and the filled part of it is
   * returned; that may be memory of the native side. Throws LoamError for an unknown name and a file that has shrunk.
   */
  async read(name: string, into?: Uint8Array): Promise<Uint8Array> {
    const tensor = this.gguf.tensor(name);
    if (into !== undefined && into.length < tensor.bytes) {
      throw new RangeError(`${into.length} bytes of room for tensor ${quote(name)} of ${tensor.bytes}`);
    }
    const target = into?.subarray(0, tensor.bytes) ?? this.allocate(tensor);
    await this.fill(tensor, target, 0);
    return target;
  }

  /**
   * Bytes `from` to `from + bytes` of one tensor, such as some of its rows. Throws RangeError for a range outside it,
   * LoamError as `read`.
   */
  async readPart(name: string, from: number, bytes: number): Promise<Uint8Array> {
    const tensor = this.gguf.tensor(name);
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(bytes) && from >= 0 && bytes >= 0;
    if (!whole || from + bytes > tensor.bytes) {
      throw new RangeError(`${bytes} bytes from ${from} are not within tensor ${quote(name)} of ${tensor.bytes}`);
    }
    const target = new Uint8Array(bytes);
    await this.fill(tensor, target, from);
    return target;
  }

  /** Bytes of one tensor in pieces of `pieceBytes` (the last may be shorter), each a fresh array. Throws as `read`. */
  async *stream(name: string, pieceBytes = PIECE_BYTES): AsyncGenerator<Uint8Array, void, undefined> {
    if (!Number.isSafeInteger(pieceBytes) || pieceBytes < 1) throw new RangeError(`pieces of ${pieceBytes} bytes`);
    const { bytes } = this.gguf.tensor(name);
    for (let from = 0; from < bytes; from += pieceBytes) {
      yield await this.readPart(name, from, Math.min(pieceBytes, bytes - from));
    }
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private allocate(tensor: GgufTensor): Uint8Array {
    try {
      return new Uint8Array(tensor.bytes);
    } catch (cause) {
      const found = `there is no memory for its ${asBytes(tensor.bytes)} at once`;
      throw new LoamError({ found, where: `${this.gguf.path}, tensor ${quote(tensor.name)}` }, { cause });
    }
  }

  private async fill(tensor: GgufTensor, target: Uint8Array, from: number): Promise<void> {
    try {
      const done = await readFully(this.file, target, tensor.offset + from);
      if (done === target.length) return;
      throw new LoamError({
        found: `the file ends ${count(target.length - done)} bytes too early`,
        expected: `the ${count(this.gguf.size)} bytes it had when its header was read`,
        where: `${this.gguf.path}, tensor ${quote(tensor.name)}`,
      });
    } catch (error) {
      throw explainReadError(error, this.gguf.path);
    }
  }
}

/** Opens the file of `gguf` for reading its tensors. Throws LoamError where it is gone or has another size than when it was checked. */
export async function openTensors(gguf: Gguf): Promise<GgufFile> {
  const { file, size } = await openRegularFile(gguf.path);
  if (size === gguf.size) return new GgufFile(gguf, file);
  await file.close();
  throw new LoamError({
    found: `the file has ${count(size)} bytes`,
    expected: `the ${count(gguf.size)} bytes it had when its header was read`,
    where: gguf.path,
    fix: 'something has changed it meanwhile: run again',
  });
}

/** Bytes of one tensor, for a caller that needs no other. Throws as `openTensors` and `GgufFile.read`. */
export async function readTensorBytes(gguf: Gguf, name: string): Promise<Uint8Array> {
  await using file = await openTensors(gguf);
  return await file.read(name);
}
