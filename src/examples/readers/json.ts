import { BadRecord, type RawRecord } from '../example.js';
import {
  describeAt,
  explainJson,
  isSpace,
  JsonFault,
  type JsonSpan,
  listSpans,
  sequenceSpans,
  skipSpace,
  ValueScanner,
} from '../json.js';
import { checkRecordBytes, parseRecord } from '../shapes.js';
import type { Pace } from '../source.js';

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
function columnIn(bytes: Uint8Array, lineStart: number, offset: number): number {
  let column = 1;
  for (let i = lineStart; i < Math.min(offset, bytes.length); i++) if ((bytes[i]! & 0xc0) !== 0x80) column++;
  return column;
}

/** Which values of a JSON file are its records. */
export type JsonLayout =
  /** The entries of the list at `at`. `inner`: more follows the list, because an object wraps it. */
  | { kind: 'list'; at: number; inner: boolean }
  /** Each top-level value. */
  | { kind: 'sequence'; at: number };

async function* listOnly(bytes: Buffer, at: number, inner: boolean, pace: Pace): AsyncGenerator<JsonSpan> {
  const end = skipSpace(bytes, yield* listSpans(bytes, at, pace));
  if (inner || end >= bytes.length) return;
  const { found, fix } = describeAt(bytes, end, '');
  throw new JsonFault(end, `${found} after the end of the list`, 'the end of the file', fix);
}

/** Records of a JSON file. @throws JsonFault at the first syntax error: behind it nothing can be told from anything. */
export async function* jsonRecords(bytes: Buffer, layout: JsonLayout, pace: Pace): AsyncGenerator<RawRecord> {
  const lines = new LineCounter(bytes);
  const spans =
    layout.kind === 'list' ? listOnly(bytes, layout.at, layout.inner, pace) : sequenceSpans(bytes, layout.at, pace);
  let index = 0;
  for await (const span of spans) {
    const where = { line: lines.lineOf(span.start), index: index++ };
    try {
      yield { ...where, value: parseRecord(bytes, span) };
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error;
      yield { ...where, fault: error };
    }
  }
}

const LF = 0x0a;
const CR = 0x0d;
const LINE_END = 'the end of the line';

/** Lines from `at` on that are not blank, without the white space around them. LF, CR LF and lone CR end a line. */
export function* textLines(
  bytes: Buffer,
  at = 0,
): Generator<{ line: number; lineStart: number; start: number; end: number }> {
  let line = 1;
  let lineStart = at;
  // Every search goes over its bytes once: for LF from the last one found, for CR up to the next LF.
  let feed = -1;
  for (;;) {
    for (; at < bytes.length && isSpace(bytes[at]); at++) {
      if (bytes[at] !== LF && (bytes[at] !== CR || bytes[at + 1] === LF)) continue;
      line++;
      lineStart = at + 1;
    }
    if (at >= bytes.length) return;
    if (feed < at) feed = bytes.indexOf(LF, at);
    if (feed === -1) feed = bytes.length;
    const lone = bytes.subarray(at, feed).indexOf(CR);
    const stop = lone === -1 ? feed : at + lone;
    let end = stop;
    while (isSpace(bytes[end - 1])) end--;
    yield { line, lineStart, start: at, end };
    at = stop;
  }
}

/** One line of a JSON lines file as a record. */
export function lineRecord(bytes: Buffer, where: { lineStart: number; start: number; end: number }): unknown {
  const { lineStart, start, end } = where;
  const text = bytes.subarray(start, end);
  checkRecordBytes(text);
  const scanner = new ValueScanner(text, 0);
  scanner.advance(text.length);
  try {
    if (scanner.broken || scanner.end < text.length) throw explainJson(text, 0, LINE_END);
    return parseRecord(text, { start: 0, end: text.length, depth: scanner.deepest }, LINE_END);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const { offset, found, expected, fix } = error;
    const column = columnIn(bytes, lineStart, start + offset);
    const wanted = expected === undefined ? '' : `, expected ${expected}`;
    throw new BadRecord('syntax', `column ${column}: ${found}${wanted}${fix === undefined ? '' : `; ${fix}`}`);
  }
}

/** Records of a JSON lines file: a broken line is one bad record. */
export function* lineRecords(bytes: Buffer): Generator<RawRecord> {
  let index = 0;
  for (const where of textLines(bytes)) {
    const at = { line: where.line, index: index++ };
    try {
      yield { ...at, value: lineRecord(bytes, where) };
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error;
      yield { ...at, fault: error };
    }
  }
}
