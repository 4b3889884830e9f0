import { createHash } from 'node:crypto';
import { LoamError } from '../base/errors.js';
import { count } from '../base/format.js';
import {
  BadRecord,
  type Dataset,
  type Example,
  MAX_RECORDS,
  type NamedBytes,
  type Problem,
  placeOf,
  quoteName,
  type RawRecord,
  type Shape,
} from './example.js';
import { describeAt, JsonFault, jsonSpan, OPEN_LIST, OPEN_OBJECT, objectSpans, skipSpace } from './json.js';
import { type CsvTable, csvRecords, csvTable } from './readers/csv.js';
import { type JsonLayout, jsonRecords, LineCounter, lineRecord, lineRecords, textLines } from './readers/json.js';
import { isKnownField, parseRecord, readRecord } from './shapes.js';
import { hashBytes, Pace, readSource, refuseBinary, toUtf8 } from './source.js';
import { Repeats } from './split.js';

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

/** How many different reasons the message names; `problems` has them all. */
const REASONS_SHOWN = 3;

function firstReasons(problems: readonly Problem[]): string {
  const seen = new Map<string, string>();
  for (const problem of problems) {
    const { severity, reason } = problem;
    if (severity !== 'error' || seen.has(reason)) continue;
    seen.set(reason, placeOf(problem));
    if (seen.size === REASONS_SHOWN) break;
  }
  return [...seen].map(([reason, place]) => `${place}: ${reason}`).join('; ');
}

/** The file could be read, but not one of its records can be used. */
export class NoExamplesError extends LoamError {
  override readonly name = 'NoExamplesError';
  constructor(
    readonly file: string,
    readonly records: number,
    readonly problems: Problem[],
  ) {
    super({
      found:
        records === 0
          ? 'there are no records in it'
          : records === 1
            ? `its only record cannot be used (${firstReasons(problems)})`
            : `none of its ${count(records)} records can be used (${firstReasons(problems)})`,
      where: file,
      ...(records === 0 ? { expected: 'a list of examples' } : {}),
    });
  }
}

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

/** Different unused names that are counted; records whose field names are data would bring millions. */
const MAX_UNUSED_NAMES = 50;

/** Collects what the records of one file come to. */
class Collector {
  readonly examples: Example[] = [];
  readonly problems: Problem[] = [];
  readonly shapes = new Set<Shape>();
  readonly unused = new Map<string, number>();
  records = 0;
  private readonly repeats = new Repeats();

  constructor(
    private readonly file: string,
    private readonly excluded: ReadonlySet<number>,
  ) {}

  add(raw: RawRecord): void {
    const { line, index } = raw;
    if (++this.records > MAX_RECORDS) {
      throw new LoamError({
        found: 'there are too many records in this file',
        expected: `at most ${count(MAX_RECORDS)}`,
        where: this.file,
        fix: 'split it',
      });
    }
    if (this.excluded.has(index)) return;
    try {
      if ('fault' in raw) throw new BadRecord(raw.fault.kind, raw.fault.reason);
      const { shape, messages, remarks, unused } = readRecord(raw.value);
      for (const name of unused) this.countUnused(name);
      const repeat = this.repeats.note(messages, line);
      for (const remark of [...(raw.remarks ?? []), ...remarks, ...(repeat === undefined ? [] : [repeat])]) {
        this.problems.push({ severity: 'warning', kind: remark.kind, line, index, reason: remark.reason });
      }
      if (repeat?.kind === 'duplicate') return;
      this.shapes.add(shape);
      this.examples.push({ messages, source: { file: this.file, line, index } });
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error;
      this.problems.push({ severity: 'error', kind: error.kind, line, index, reason: error.reason });
    }
  }

  private countUnused(name: string): void {
    const seen = this.unused.get(name);
    if (seen !== undefined || this.unused.size < MAX_UNUSED_NAMES) this.unused.set(name, (seen ?? 0) + 1);
  }
}

/** Names as `quoteName` shows them, which may make several one. */
function unusedFields(unused: ReadonlyMap<string, number>): Dataset['unusedFields'] {
  const shown = new Map<string, number>();
  for (const [name, records] of unused) {
    const plain = quoteName(name).replaceAll('"', '');
    shown.set(plain, (shown.get(plain) ?? 0) + records);
  }
  return [...shown].map(([name, records]) => ({ name, records })).sort((a, b) => b.records - a.records);
}

/** Two choices of the same file are different data. */
function hashWithout(sha256: string, excluded: readonly number[]): string {
  return createHash('sha256')
    .update(`${sha256} without ${excluded.join(' ')}`)
    .digest('hex');
}

/**
 * Reads a file of examples, or the bytes of one under a name for messages. The format is recognised from the content: JSON, JSON lines or CSV (comma, semicolon, tab) with
 * question and answer fields (Alpaca and its relatives) or conversations (OpenAI messages, ShareGPT), in UTF-8 or UTF-16. Each
 * record is an example, or a problem of severity error, or a problem of kind duplicate. Gives way to other work every few ms.
 *
 * @throws NoExamplesError when no record can be used; it has all the problems
 * @throws UnsupportedError when the file is known to be something else (an archive, a workbook, a web page)
 * @throws StoppedError when `signal` fires
 * @throws LoamError when it cannot be read, is too large, is of no known format, or is JSON with a syntax error
 */
export async function loadDataset(
  data: string | NamedBytes,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Dataset> {
  const pace = new Pace(signal);
  const path = typeof data === 'string' ? data : data.name;
  const source = typeof data === 'string' ? await readSource(data, pace) : await hashBytes(data, pace);
  refuseBinary(source.bytes, path);
  const bytes = await toUtf8(source.bytes, pace);
  const excluded = typeof data === 'string' ? [] : (data.excluded ?? []);
  const collected = new Collector(path, new Set(excluded));
  let layout: Layout;
  try {
    layout = await detectLayout(bytes, path, pace);
    if (layout.container === 'json') {
      const lines = new LineCounter(bytes);
      for (const { name, offset } of layout.unread) {
        const reason = `the list ${quoteName(name)} is not read`;
        const line = lines.lineOf(offset);
        collected.problems.push({ severity: 'warning', kind: 'unread-list', line, index: -1, reason });
      }
    }
    for await (const raw of recordsOf(bytes, layout, pace)) {
      collected.add(raw);
      if (pace.due) await pace.rest();
    }
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const { offset, found, expected, fix } = error;
    const lines = new LineCounter(bytes);
    const where = `${path}, line ${count(lines.lineOf(offset))}, column ${count(lines.columnOf(offset))}`;
    throw new LoamError({ found, expected, where, fix });
  }
  const { examples, problems, records, shapes } = collected;
  if (examples.length === 0) throw new NoExamplesError(path, records, problems);
  const [shape] = shapes;
  return {
    file: path,
    format: { container: layout.container, shape: shapes.size === 1 ? shape! : 'mixed' },
    examples,
    problems,
    records,
    unusedFields: unusedFields(collected.unused),
    sha256: excluded.length === 0 ? source.sha256 : hashWithout(source.sha256, excluded),
  };
}
