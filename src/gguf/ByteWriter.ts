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
