import { BACKSLASH, CLOSE_LIST, CLOSE_OBJECT, COLON, COMMA, isSpace, OPEN_LIST, OPEN_OBJECT, QUOTE } from './json.js';

/** Where a JSON value ends, found in steps: the value may be a whole file. */

/** Depths at which fields are counted for each object; deeper ones are refused by whoever reads the value. */
const MAX_WIDTHS = 1000;

/**
 * Finds where one JSON value ends, by brackets and quotes alone; JSON.parse judges the rest. Runs at about the speed of memory for
 * long texts and never recurses.
 */
export class ValueScanner {
  /** Behind the value once `advance` has returned true. */
  end: number;
  /** Most brackets that were open at once. */
  deepest = 0;
  /** Fields of all objects, and of the one that has most. */
  fields = 0;
  widest = 0;
  /** Fields of the objects that are open. */
  private readonly widths: number[] = [];
  /** The bytes cannot be one value: they end early, or a line ends inside a text. */
  broken = false;
  private depth = 0;
  private inText = false;

  constructor(
    private readonly bytes: Buffer,
    readonly start: number,
  ) {
    this.end = start;
  }

  /** Reads on for about `budget` bytes; true when there is nothing more to read (the end is found, or `broken`). */
  advance(budget: number): boolean {
    const { bytes } = this;
    const stop = Math.min(bytes.length, this.end + budget);
    let at = this.end;
    while (at < stop) {
      const byte = bytes[at]!;
      if (this.inText) {
        if (byte === QUOTE) {
          this.inText = false;
          if (this.depth === 0) return this.finish(at + 1);
        } else if (byte === BACKSLASH) {
          at++;
        } else if (byte === 0x0a || byte === 0x0d) {
          return this.fail(at);
        }
      } else if (byte === QUOTE) {
        this.inText = true;
      } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
        if (++this.depth > this.deepest) this.deepest = this.depth;
        if (this.depth < MAX_WIDTHS) this.widths[this.depth] = 0;
      } else if (byte === COLON) {
        this.fields++;
        const width = (this.widths[this.depth] ?? 0) + 1;
        if (this.depth < MAX_WIDTHS) this.widths[this.depth] = width;
        if (width > this.widest) this.widest = width;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        // At depth 0 the bracket belongs to what surrounds a number or a word.
        if (this.depth === 0) return this.finish(at);
        if (--this.depth === 0) return this.finish(at + 1);
      } else if (this.depth === 0 && (byte === COMMA || isSpace(byte))) {
        return this.finish(at);
      }
      at++;
    }
    // An escape may have stepped past the last byte.
    this.end = Math.min(at, bytes.length);
    if (this.end < bytes.length) return false;
    return this.inText || this.depth > 0 ? this.fail(bytes.length) : this.finish(bytes.length);
  }

  private finish(end: number): true {
    this.end = end;
    return true;
  }

  private fail(at: number): true {
    this.broken = true;
    return this.finish(at);
  }
}
