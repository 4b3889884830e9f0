import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { openRegularFile } from '../util/openRegularFile.js';
import { quote } from '../util/quote.js';
import { ArrayFile } from './ArrayFile.js';
import type { ArrayInfo, NdArray } from './dtypes.js';
import { MAX_SAFETENSORS_HEADER, PIECE_BYTES } from './limits.js';
import { decodeSafetensorsHeader, type SafetensorsEntry } from './safetensorsHeader.js';

export interface StoredTensor extends ArrayInfo {
  readonly bytes: number;
  /** Which file of a folder of several it is in. */
  readonly file?: string;
}

/** Named tensors on disk, of one safetensors file or of a folder of them. */
export interface TensorSource extends AsyncDisposable {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Throws LoamError for an unknown name and a file that has shrunk. */
  read(name: string): Promise<NdArray>;
  /** `bytes` of a tensor from byte `from` on, such as some of its rows. RangeError for a range outside it. */
  readPart(name: string, from: number, bytes: number): Promise<Uint8Array>;
  /** The bytes of a tensor in pieces (the last may be shorter), each in fresh memory. */
  stream(name: string, pieceBytes?: number): AsyncGenerator<Uint8Array, void>;
}

/** An open safetensors file: tensors are read one by one. `await using file = await openSafetensors(path)`. */
export class SafetensorsFile implements TensorSource {
  readonly path: string;

  /** Use `openSafetensors`. */
  constructor(
    /** By name, in the order of their data. */
    readonly tensors: ReadonlyMap<string, SafetensorsEntry>,
    readonly metadata: ReadonlyMap<string, string>,
    private readonly dataStart: number,
    private readonly file: ArrayFile,
  ) {
    this.path = file.path;
  }

  private find(name: string): SafetensorsEntry {
    const tensor = this.tensors.get(name);
    if (tensor) return tensor;
    throw new LoamError({
      found: `there is no tensor ${quote(name)} among its ${count(this.tensors.size)}`,
      where: this.path,
    });
  }

  async read(name: string): Promise<NdArray> {
    const { dtype, shape, bytes } = this.find(name);
    return { dtype, shape, data: await this.readPart(name, 0, bytes) };
  }

  async readPart(name: string, from: number, bytes: number): Promise<Uint8Array> {
    const tensor = this.find(name);
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(bytes) && from >= 0 && bytes >= 0;
    if (!whole || from + bytes > tensor.bytes) {
      throw new RangeError(`${bytes} bytes from ${from} are not within tensor ${quote(name)} of ${tensor.bytes}`);
    }
    return await this.file.read(this.dataStart + tensor.offset + from, bytes, `tensor ${quote(name)}`);
  }

  stream(name: string, pieceBytes = PIECE_BYTES): AsyncGenerator<Uint8Array, void> {
    const { offset, bytes } = this.find(name);
    return this.file.stream(this.dataStart + offset, bytes, pieceBytes, `tensor ${quote(name)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/**
 * Opens a safetensors file: its header is read and held against the length of the file.
 * @throws LoamError for a file that is not as it should be, UnsupportedError for element types that Loam does not know
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const { file, size } = await openRegularFile(path);
  const source = new ArrayFile(path, size, file);
  try {
    const notOne = (found: string) => new LoamError({ found, expected: 'a safetensors file', where: path });
    if (size < 10) throw notOne(`the file has only ${size} bytes`);
    const start = Buffer.from(await source.read(0, 8, 'the header'));
    // Rounded beyond 2^53, which is past the limit.
    const length = start.readUInt32LE(0) + start.readUInt32LE(4) * 2 ** 32;
    if (length > MAX_SAFETENSORS_HEADER || length < 2) throw notOne(`a header of ${count(length)} bytes`);
    if (8 + length > size) throw notOne(`a header of ${count(length)} bytes in a file of ${count(size)}`);
    const header = decodeSafetensorsHeader(await source.read(8, length, 'the header'), size - 8 - length, path);
    const tensors = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
    return new SafetensorsFile(tensors, header.metadata, 8 + length, source);
  } catch (error) {
    await file.close();
    throw error;
  }
}
