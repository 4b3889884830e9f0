import type { FileHandle } from 'node:fs/promises';
import { LoamError } from '../util/errors.js';
import { bytes as asBytes, count } from '../util/format.js';
import { explainReadError } from '../util/openRegularFile.js';
import { readFully } from '../util/readFully.js';

/** An open file with arrays in it: reads ranges and says so where the file has shrunk since it was checked. */
export class ArrayFile implements AsyncDisposable {
  private closed = false;

  constructor(
    readonly path: string,
    readonly size: number,
    private readonly file: FileHandle,
  ) {}

  /** `bytes` from `position` on, in fresh memory. `what` names them in errors. */
  async read(position: number, bytes: number, what: string): Promise<Uint8Array> {
    const target = allocate(bytes, `${this.path}, ${what}`);
    try {
      const done = await readFully(this.file, target, position);
      if (done === bytes) return target;
    } catch (error) {
      throw explainReadError(error, this.path);
    }
    throw new LoamError({
      found: `the file ends inside ${what}`,
      expected: `the ${count(this.size)} bytes it had when it was opened`,
      where: this.path,
      fix: 'something has changed it meanwhile: run again',
    });
  }

  /** The same in pieces. */
  async *stream(position: number, bytes: number, pieceBytes: number, what: string): AsyncGenerator<Uint8Array, void> {
    if (!Number.isSafeInteger(pieceBytes) || pieceBytes < 1) throw new RangeError(`pieces of ${pieceBytes} bytes`);
    for (let done = 0; done < bytes; done += pieceBytes) {
      yield await this.read(position + done, Math.min(pieceBytes, bytes - done), what);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.file.close();
  }
}

/** Memory for a whole array; a sentence where there is not as much. */
export function allocate(bytes: number, where: string): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new LoamError({ found: `there is no memory for its ${asBytes(bytes)} at once`, where }, { cause });
  }
}
