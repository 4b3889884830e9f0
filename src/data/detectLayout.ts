import { LoamError } from '../util/errors.js';
import { BadRecord } from './badRecord.js';
import { isKnownField } from './chooseFields.js';
import { type CsvTable, csvTable } from './csvTable.js';
import { describeAt, OPEN_LIST, OPEN_OBJECT, skipSpace } from './jsonBytes.js';
import { JsonFault } from './jsonFault.js';
import type { JsonLayout } from './jsonRecords.js';
import { jsonSpan, objectSpans } from './jsonSpans.js';
import { lineRecord, textLines } from './lineRecords.js';
import type { Pace } from './pace.js';
import { parseRecord } from './parseRecord.js';

export type Layout =
  | { container: 'json'; json: JsonLayout; unread: { name: string; offset: number }[] }
  | { container: 'jsonl' }
  | { container: 'csv'; table: CsvTable };

/** Names under which an object wraps its list of records, in the order in which they are preferred. */
const WRAPPERS = ['data', 'train', 'examples', 'records', 'rows', 'items', 'dataset'];

/** Lines that are looked at to tell JSON lines with a broken start from something else. */
const HEAD_LINES = 10;
const HEAD_LINE_BYTES = 1_000_000;

function parses(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (error instanceof BadRecord || error instanceof JsonFault) return undefined;
    throw error;
  }
}

/** One of the next lines is a whole object: the file is JSON lines although its first line is not. */
function looksLikeLines(bytes: Buffer): boolean {
  let seen = 0;
  for (const line of textLines(bytes)) {
    if (seen++ > HEAD_LINES) return false;
    // Not indented: a list entry that is printed on a line of its own usually is.
    if (bytes[line.lineStart] !== OPEN_OBJECT || line.end - line.start > HEAD_LINE_BYTES) continue;
    if (parses(() => lineRecord(bytes, line)) !== undefined) return true;
  }
  return false;
}

/** Whether the list at `at` is one conversation that stands in the file without a list around it. */
async function isBareChat(bytes: Buffer, at: number, pace: Pace): Promise<boolean> {
  const first = skipSpace(bytes, at + 1);
  if (bytes[first] !== OPEN_OBJECT) return false;
  try {
    const span = await jsonSpan(bytes, first, pace);
    const value = parses(() => parseRecord(bytes, span));
    if (typeof value !== 'object' || value === null) return false;
    const has = (name: string) => Object.hasOwn(value, name);
    return (has('role') && has('content')) || (has('from') && has('value'));
  } catch (error) {
    if (error instanceof JsonFault) return false;
    throw error;
  }
}

async function objectLayout(bytes: Buffer, at: number, pace: Pace): Promise<Layout> {
  const first = textLines(bytes).next().value!;
  let found: Awaited<ReturnType<typeof objectSpans>>;
  try {
    found = await objectSpans(bytes, at, pace);
  } catch (error) {
    if (error instanceof JsonFault && looksLikeLines(bytes)) return { container: 'jsonl' };
    throw error;
  }
  const { fields, end } = found;
  const sequence: Layout = { container: 'json', json: { kind: 'sequence', at }, unread: [] };
  const next = skipSpace(bytes, end);
  if (next < bytes.length) {
    // The object ends within the first line, or that line is broken: its fault is its own.
    if (end <= first.end) return { container: 'jsonl' };
    if (bytes[next] === OPEN_OBJECT || bytes[next] === OPEN_LIST) return sequence;
    const fix = 'put the records into a list: [ before the first, ] after the last, commas between';
    throw new JsonFault(next, `${describeAt(bytes, next, '').found} after the end of the first record`, undefined, fix);
  }
  if (fields.some(({ name }) => isKnownField(name))) return sequence;
  const lists = fields.filter(({ value }) => bytes[value.start] === OPEN_LIST);
  const named = WRAPPERS.map((name) => lists.find((list) => list.name === name)).find((list) => list !== undefined);
  const records = lists.filter(({ value }) => {
    const entry = bytes[skipSpace(bytes, value.start + 1)];
    return entry === OPEN_OBJECT || entry === OPEN_LIST;
  });
  const chosen = named ?? (records.length === 1 ? records[0] : undefined);
  if (chosen === undefined) return sequence;
  return {
    container: 'json',
    json: { kind: 'list', at: chosen.value.start, inner: true },
    unread: records.filter((list) => list !== chosen).map(({ name, value }) => ({ name, offset: value.start })),
  };
}

/**
 * Recognises how a file holds its records, from its content alone.
 * @param bytes UTF-8 without a byte order mark
 * @throws JsonFault when it is JSON with a syntax error
 * @throws LoamError when it is nothing Loam reads
 */
export async function detectLayout(bytes: Buffer, file: string, pace: Pace): Promise<Layout> {
  const at = skipSpace(bytes, 0);
  if (at >= bytes.length)
    throw new LoamError({ found: 'the file holds only white space', expected: 'examples', where: file });
  const list = bytes[at] === OPEN_LIST;
  if (list || bytes[at] === OPEN_OBJECT) {
    const first = textLines(bytes).next().value!;
    const second = bytes[skipSpace(bytes, first.end)];
    // Of a list, only another list or object makes it a line among lines; after anything else it is a list with a fault behind it.
    const more = second !== undefined && (!list || second === OPEN_LIST || second === OPEN_OBJECT);
    if (more && parses(() => lineRecord(bytes, first)) !== undefined) return { container: 'jsonl' };
    if (!list) return objectLayout(bytes, at, pace);
    const kind = (await isBareChat(bytes, at, pace)) ? 'sequence' : 'list';
    return { container: 'json', json: { kind, at, inner: false }, unread: [] };
  }
  const table = csvTable(bytes, file);
  if (table !== undefined) return { container: 'csv', table };
  if (looksLikeLines(bytes)) return { container: 'jsonl' };
  throw new LoamError({
    found: 'its content is none of the formats Loam reads',
    expected: 'JSON or JSON lines with the fields "instruction" and "output" or "messages", or CSV with such columns',
    where: file,
  });
}
