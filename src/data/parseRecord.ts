import { isUtf8 } from 'node:buffer';
import { bytes as inUnits } from '../util/format.js';
import { BadRecord } from './badRecord.js';
import { explainJson } from './explainJson.js';
import type { JsonSpan } from './jsonSpans.js';
import { MAX_DEPTH, MAX_RECORD_BYTES } from './limits.js';

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

/**
 * Parses one record within the file.
 * @throws BadRecord when its size, encoding or nesting is refused
 * @throws JsonFault when it is not JSON
 */
export function parseRecord(bytes: Buffer, { start, end, depth }: JsonSpan, fileEnd = 'the end of the file'): unknown {
  const record = bytes.subarray(start, end);
  checkRecordBytes(record);
  if (depth > MAX_DEPTH) throw new BadRecord('too-long', `it is nested more than ${MAX_DEPTH} levels deep`);
  try {
    return JSON.parse(record.toString('utf8'));
  } catch {
    // Not given on as cause: V8's message quotes the user's text.
    throw explainJson(bytes, start, fileEnd);
  }
}
