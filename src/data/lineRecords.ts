import { BadRecord } from './badRecord.js';
import { explainJson } from './explainJson.js';
import { isSpace } from './jsonBytes.js';
import { JsonFault } from './jsonFault.js';
import { columnIn } from './lineCounter.js';
import { checkRecordBytes, parseRecord } from './parseRecord.js';
import type { RawRecord } from './types.js';
import { ValueScanner } from './valueScanner.js';

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
