import { isUtf8 } from 'node:buffer';
import { bytes as inUnits } from '../../base/format.js';
import { isSpace } from '../../base/json.js';
import type { Columns } from '../columns.js';
import { BadRecord, MAX_RECORD_BYTES, type RawRecord } from '../example.js';
import type { Pace } from '../source.js';

/** What a data format is to the rest of Loam, and what the formats share: records in lines of a file. */

/** A file as its readers see it. */
export interface TextFile {
  /** Path, or what stands for one in messages. */
  name: string;
  /** Where it is known already. */
  container?: string;
  /** Where its fields have names of their own. */
  columns?: Columns;
  /** UTF-8 without a byte order mark; not only white space. */
  bytes: Buffer;
}

/** One data format: a file in this folder, and its place in the list of `loadDataset.ts`. */
export interface Reader<Layout> {
  /** Its name, as a data set tells it. */
  readonly container: string;
  /**
   * What reading and writing must know of this file; undefined where it is of another format.
   * @throws JsonFault or LoamError for a file that is of this format but broken
   */
  detect(file: TextFile, pace: Pace): Layout | undefined | Promise<Layout | undefined>;
  /** The records in order, each with its place or with what is wrong with it. @throws JsonFault */
  read(bytes: Buffer, layout: Layout, pace: Pace): Iterable<RawRecord> | AsyncIterable<RawRecord>;
  /** A file of such records, as `read` gives them. */
  write(records: readonly unknown[], layout: Layout): string;
}

/** A record whose value `parse` gives, or what keeps it from one. */
export function rawRecord(place: { line: number; index: number }, parse: () => unknown): RawRecord {
  try {
    return { ...place, value: parse() };
  } catch (error) {
    if (!(error instanceof BadRecord)) throw error;
    return { ...place, fault: error };
  }
}

/** Bytes of a record that cannot be read which are kept to be looked at. */
const SHOWN_BYTES = 20_000;

/** A record that cannot be read, as text: without the characters that no text has, and no more than a person looks through. */
export function textOf(record: Buffer): string {
  return record.toString('utf8', 0, SHOWN_BYTES).replaceAll('\0', '').trim();
}

/** @throws BadRecord when the bytes of a record are too many or no text. */
export function checkRecordBytes(record: Buffer): void {
  if (record.length > MAX_RECORD_BYTES) {
    const found = `the record has ${inUnits(record.length)}`;
    throw new BadRecord('too-long', `${found}, the limit is ${inUnits(MAX_RECORD_BYTES)}`);
  }
  if (!isUtf8(record)) {
    throw new BadRecord('encoding', 'it holds bytes that are not UTF-8 text; save the file as UTF-8');
  }
}

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

/** A line of a file that is not blank: its number, where it begins, and its text without the white space around it. */
export interface TextLine {
  line: number;
  lineStart: number;
  start: number;
  end: number;
}

/** The lines that are not blank. LF, CR LF and lone CR end a line. */
export function* textLines(bytes: Buffer): Generator<TextLine, void> {
  let at = 0;
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
