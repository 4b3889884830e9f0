import { LoamError } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { type Positioned, readFully } from '../../base/io.js';
import type { GgufText } from './values.js';

/** Where bytes come from: a file, or memory in tests. */
export interface ByteSource extends Positioned {
  /** Bytes in all. */
  readonly size: number;
}

/** Bytes read ahead: 20 reads for the header of a 150,000-token vocabulary, and small enough not to matter on a phone. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Reads a file front to back through one window of bounded size. `need` fetches bytes (the only asynchronous step), the
 * other methods then take them without waiting, which is what keeps long string arrays fast.
 */
export class ByteReader {
  private window = Buffer.alloc(0);
  /** Index in the window of the next byte, of the first byte past those that may be taken, and past those held. */
  private at = 0;
  private end = 0;
  private held = 0;
  /** File position of the window's first byte. */
  private base = 0;
  private limit = { position: Number.POSITIVE_INFINITY, bytes: 0, what: '' };

  constructor(
    private readonly source: ByteSource,
    readonly path: string,
  ) {}

  /** File position of the next byte. */
  get position(): number {
    return this.base + this.at;
  }

  get size(): number {
    return this.source.size;
  }

  /** From here on at most `bytes` may be taken for `what`, until `endLimit`. */
  startLimit(bytes: number, what: string): void {
    this.limit = { position: this.position + bytes, bytes, what };
    this.end = Math.min(this.held, this.limit.position - this.base);
  }

  endLimit(): void {
    this.limit.position = Number.POSITIVE_INFINITY;
    this.end = this.held;
  }

  /** Whether `bytes` can be taken now. */
  has(bytes: number): boolean {
    return bytes <= this.end - this.at;
  }

  /** Throws LoamError unless the next `bytes` lie within the file and the limit; `what` names them. Reads nothing. */
  require(bytes: number, what: string): void {
    const wanted = this.position + bytes;
    if (wanted > this.limit.position) {
      const found = `${this.limit.what} takes more than ${count(this.limit.bytes)} bytes (at ${what})`;
      throw new LoamError({ code: 'too-large', found, expected: 'at most that', where: this.path });
    }
    if (wanted > this.size) {
      throw new LoamError({
        code: 'damaged',
        found: `the file ends after ${count(this.size)} bytes, inside ${what}`,
        expected: `at least ${count(wanted)} bytes (${count(wanted - this.size)} missing)`,
        where: this.path,
        fix: 'it is truncated or damaged: download or copy it again',
      });
    }
  }

  /** Makes the next `bytes` available. Throws LoamError if they are not in the file or pass the limit. */
  async need(bytes: number, what: string): Promise<void> {
    if (this.has(bytes)) return;
    this.require(bytes, what);
    const position = this.position;
    const unread = this.held - this.at;
    const wanted = Math.min(Math.max(bytes, CHUNK_BYTES), this.size - position);
    if (this.window.length < wanted) {
      const wider = Buffer.allocUnsafeSlow(wanted);
      this.window.copy(wider, 0, this.at, this.held);
      this.window = wider;
    } else {
      this.window.copyWithin(0, this.at, this.held);
    }
    this.base = position;
    this.at = 0;
    this.held = unread;
    await this.fill(this.window.subarray(unread, wanted), position + unread);
    this.held = wanted;
    this.end = Math.min(wanted, this.limit.position - position);
  }

  /** Takes bytes straight into `target`, which may be longer than the window. */
  async readInto(target: Uint8Array, what: string): Promise<void> {
    this.require(target.length, what);
    const buffered = Math.min(target.length, this.end - this.at);
    target.set(this.window.subarray(this.at, this.at + buffered));
    this.at += buffered;
    if (buffered === target.length) return;
    const position = this.position;
    await this.fill(target.subarray(buffered), position);
    this.base = position + target.length - buffered;
    this.at = this.end = this.held = 0;
  }

  private async fill(target: Uint8Array, position: number): Promise<void> {
    const read = await readFully(this.source, target, position);
    if (read === target.length) return;
    throw new LoamError({
      code: 'conflict',
      found: `the file ended at ${count(position + read)} bytes while being read`,
      expected: `the ${count(this.size)} bytes it had at first`,
      where: this.path,
    });
  }

  /** The next bytes without taking them; valid until the next `need`. */
  peek(bytes: number): Uint8Array {
    return this.window.subarray(this.at, this.at + bytes);
  }

  /** Throws the error that `what` has been found to be wrong. */
  fail(what: string, found: string, expected: string, code: 'damaged' | 'too-large' = 'damaged'): never {
    throw new LoamError({ code, found: `${what} ${found}`, expected, where: this.path });
  }

  /** A string: u64 length, then that many bytes. `what` names it in errors. Throws LoamError past `most` bytes. */
  async string(most: number, what: string): Promise<GgufText> {
    if (!this.has(8)) await this.need(8, what);
    const length = this.length();
    if (length > most) this.fail(what, `is ${count(length)} bytes long`, `at most ${count(most)}`, 'too-large');
    if (!this.has(length)) await this.need(length, what);
    return this.text(length);
  }

  u8(): number {
    return this.window.readUInt8(this.advance(1));
  }

  u32(): number {
    return this.window.readUInt32LE(this.advance(4));
  }

  u64(): bigint {
    return this.window.readBigUInt64LE(this.advance(8));
  }

  /** A u64 as a number: rounded above 2^53, which is past every limit it is compared with. */
  length(): number {
    const at = this.advance(8);
    return this.window.readUInt32LE(at) + this.window.readUInt32LE(at + 4) * 2 ** 32;
  }

  /** Text of the next `bytes`. U+FFFD in it may come from the file or stand for bytes that are not UTF-8; encoding it again shows which. */
  text(bytes: number): GgufText {
    const at = this.advance(bytes);
    const value = this.window.toString('utf8', at, at + bytes);
    if (!value.includes('\ufffd')) return { value };
    const stored = this.window.subarray(at, at + bytes);
    return Buffer.from(value).equals(stored) ? { value } : { value, raw: new Uint8Array(stored) };
  }

  /** Index of `bytes` that `need` has made available. */
  private advance(bytes: number): number {
    const at = this.at;
    if (at + bytes > this.end) throw new Error(`${bytes} bytes taken without need()`);
    this.at = at + bytes;
    return at;
  }
}

/** Bytes of the first allocation; doubled as needed. */
const FIRST_BYTES = 64 * 1024;

/** Grows a header in memory, little-endian. */
export class ByteWriter {
  private buffer = Buffer.alloc(FIRST_BYTES);
  private at = 0;

  get length(): number {
    return this.at;
  }

  u8(value: number): void {
    const at = this.advance(1);
    this.buffer.writeUInt8(value, at);
  }

  u32(value: number): void {
    const at = this.advance(4);
    this.buffer.writeUInt32LE(value, at);
  }

  u64(value: number | bigint): void {
    const at = this.advance(8);
    this.buffer.writeBigUInt64LE(BigInt(value), at);
  }

  bytes(value: Uint8Array): void {
    const at = this.advance(value.length);
    this.buffer.set(value, at);
  }

  /** u64 length, then the UTF-8 bytes. */
  text(value: string): void {
    const length = Buffer.byteLength(value);
    this.u64(length);
    const at = this.advance(length);
    this.buffer.write(value, at);
  }

  /** Zeros up to a multiple of `alignment`. */
  pad(alignment: number): void {
    this.advance((alignment - (this.at % alignment)) % alignment);
  }

  /** What was written; valid until the next write. */
  result(): Uint8Array {
    return this.buffer.subarray(0, this.at);
  }

  /** Where the next `bytes` go. May replace the buffer, so it comes before any use of it. */
  private advance(bytes: number): number {
    const at = this.at;
    if (at + bytes > this.buffer.length) {
      const wider = Buffer.alloc(Math.max(this.buffer.length * 2, at + bytes));
      this.buffer.copy(wider);
      this.buffer = wider;
    }
    this.at = at + bytes;
    return at;
  }
}
