import { BadRecord } from './badRecord.js';
import { describeAt, skipSpace } from './jsonBytes.js';
import { JsonFault } from './jsonFault.js';
import { type JsonSpan, listSpans, sequenceSpans } from './jsonSpans.js';
import { LineCounter } from './lineCounter.js';
import type { Pace } from './pace.js';
import { parseRecord } from './parseRecord.js';
import type { RawRecord } from './types.js';

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
