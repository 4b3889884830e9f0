import { csvRecords } from './csvRecords.js';
import type { Layout } from './detectLayout.js';
import { jsonRecords } from './jsonRecords.js';
import { lineRecords } from './lineRecords.js';
import type { Pace } from './pace.js';
import type { RawRecord } from './types.js';

/** The records of a file whose layout is known, in order, as their container holds them. */
export function recordsOf(bytes: Buffer, layout: Layout, pace: Pace): AsyncIterable<RawRecord> | Iterable<RawRecord> {
  switch (layout.container) {
    case 'json':
      return jsonRecords(bytes, layout.json, pace);
    case 'jsonl':
      return lineRecords(bytes);
    case 'csv':
      return csvRecords(bytes, layout.table, pace);
  }
}
