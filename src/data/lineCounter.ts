const LF = 0x0a;
const CR = 0x0d;

/** Line numbers of byte offsets, for offsets asked in rising order: each byte is looked at once. LF, CR LF and lone CR end a line. */
export class LineCounter {
  private line = 1;
  private lineStart = 0;
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  /** Line of the byte at `offset`, from 1. */
  lineOf(offset: number): number {
    const { bytes } = this;
    if (offset < this.at) throw new RangeError(`offset ${offset} comes before ${this.at}`);
    const end = Math.min(offset, bytes.length);
    for (; this.at < end; this.at++) {
      const byte = bytes[this.at]!;
      if (byte === LF || (byte === CR && bytes[this.at + 1] !== LF)) {
        this.line++;
        this.lineStart = this.at + 1;
      }
    }
    return this.line;
  }

  /** Column of the byte at `offset`, from 1, in characters (code points). */
  columnOf(offset: number): number {
    this.lineOf(offset);
    return columnIn(this.bytes, this.lineStart, offset);
  }
}

/** Characters between `lineStart` and `offset`, plus one. Counts the bytes that start a UTF-8 sequence. */
export function columnIn(bytes: Uint8Array, lineStart: number, offset: number): number {
  let column = 1;
  for (let i = lineStart; i < Math.min(offset, bytes.length); i++) if ((bytes[i]! & 0xc0) !== 0x80) column++;
  return column;
}
