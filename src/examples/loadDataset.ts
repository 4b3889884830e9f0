import { createHash } from 'node:crypto';
import { LoamError } from '../base/errors.js';
import { count, listFirst } from '../base/format.js';
import { JsonFault, skipSpace } from '../base/json.js';
import { COLUMNS_ADVICE, Columns, choosable } from './columns.js';
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
  type Task,
} from './example.js';
import { isObject } from './fields.js';
import { csv } from './readers/csv.js';
import { json } from './readers/json.js';
import { jsonl } from './readers/jsonl.js';
import { questionText } from './readers/questionText.js';
import { LineCounter, type Reader, type TextFile } from './readers/reader.js';
import { telegram } from './readers/telegram.js';
import { markdown, text } from './readers/text.js';
import { whatsapp } from './readers/whatsapp.js';
import { type ReadRecord, readRecord } from './shapes.js';
import { Pace, readSource, refuseBlank, type Source, toUtf8 } from './source.js';
import { Repeats } from './split.js';

/** A person's file as examples: its format is detected, its records are read by their shape, and what is wrong with each is reported. */

/** Every format, in the order in which they are tried. */
const readers: readonly Reader<unknown>[] = [whatsapp, telegram, questionText, text, markdown, json, csv, jsonl];
/** Those in which it is asked who of the people the answers are of. */
const chats: readonly Reader<unknown>[] = [whatsapp, telegram];

interface LoadOptions {
  signal?: AbortSignal;
  /** Which fields are which (see `Columns`). */
  columns?: string;
  /** Interprets the value of a record; default: `readRecord`, for learning. */
  read?: (value: unknown) => ReadRecord & { task?: Task };
}

/**
 * Reads a file of examples, or the bytes of one under a name for messages, in UTF-8 or UTF-16. The format is detected from the content:
 * JSON, JSON Lines or CSV (comma, semicolon, tab) with question and answer fields (Alpaca and its relatives), conversations (OpenAI
 * messages, ShareGPT) or texts; chats of WhatsApp and Telegram; "Q:" and "A:" lines; plain text and Markdown from the name. Each record becomes an example, a problem of severity error, or a
 * problem of kind duplicate. Yields to other work every few milliseconds.
 *
 * @throws NoExamplesError when no record can be used; it has all the problems
 * @throws UnsupportedError when the file is known to be something else (an archive, a workbook, a web page)
 * @throws StoppedError when `signal` fires
 * @throws LoamError when it cannot be read, is too large, is of no known format, or is JSON with a syntax error
 */
export async function loadDataset(
  data: string | NamedBytes,
  { signal, columns, read = readRecord }: LoadOptions = {},
): Promise<Dataset> {
  const pace = new Pace(signal);
  const source = await readSource(data, pace, columns);
  const { name, excluded = [] } = source;
  const collected = new Collector(name, new Set(excluded), read);
  const file = await openRecords(source, pace);
  for await (const raw of file.records()) collected.add(raw);
  const { examples, problems, records, shapes } = collected;
  if (examples.length === 0) throw new NoExamplesError(name, records, problems, collected.fields);
  const [shape] = shapes;
  const unused = unusedFields(collected.unused);
  if (unused.length > 0) {
    const named = listFirst(
      unused.map(({ name, records }) => `"${name}" of ${count(records)}`),
      NAMES_SHOWN,
    );
    const reason = `fields that are not used, by records: ${named}`;
    problems.push({ severity: 'warning', kind: 'unused', line: 1, index: -1, reason });
  }
  return {
    file: name,
    format: { container: file.container, shape: shapes.size === 1 ? shape! : 'mixed' },
    examples,
    problems,
    records,
    unusedFields: unused,
    sha256: hashAsRead(source),
  };
}

/** The records of a file as its format holds them, and the way back into it. */
interface RecordFile {
  container: string;
  /** Yields to other work every few milliseconds. @throws LoamError with line and column for a syntax error that ends the file */
  records(): AsyncGenerator<RawRecord, void>;
  /** A file of the same format with these records. */
  write(records: readonly unknown[]): Buffer;
}

/**
 * Detects the format of a file.
 * @throws LoamError when it is none that Loam reads, or the file is broken
 */
export async function openRecords(source: Source, pace: Pace): Promise<RecordFile> {
  const { name, container } = source;
  const bytes = await toUtf8(source.bytes, pace);
  await refuseBlank(bytes, name, pace);
  if (skipSpace(bytes, 0) >= bytes.length) {
    const found = 'the file holds only white space';
    throw new LoamError({ code: 'no-examples', found, expected: 'examples', where: name });
  }
  const columns = source.columns === undefined ? undefined : Columns.parse(source.columns);
  const file: TextFile = { name, container, bytes, columns };
  try {
    for (const reader of readers) {
      const layout = await reader.detect(file, pace);
      if (layout === undefined) continue;
      if (columns?.me !== undefined && !chats.includes(reader)) throw notAChat(name);
      return {
        container: reader.container,
        records: () =>
          pacedRecords(
            file,
            reader.read(bytes, layout, pace),
            pace,
            reader === csv || chats.includes(reader) ? undefined : columns,
          ),
        write: (records) => Buffer.from(reader.write(records, layout)),
      };
    }
  } catch (error) {
    throw withPlace(error, file);
  }
  throw new LoamError({
    code: 'wrong-format',
    found: 'its content is none of the formats Loam reads',
    expected: 'JSON or JSON lines with the fields "instruction" and "output" or "messages", or CSV with such columns',
    where: name,
    fix: 'if it is a text to be learnt as it stands, give it a name that ends in .txt or .md',
  });
}

function notAChat(where: string): LoamError {
  const [found, fix] = ['this is no chat from WhatsApp or Telegram', 'leave "me" out of --columns'];
  return new LoamError({ code: 'invalid-data', found, where, fix });
}

async function* pacedRecords(
  file: TextFile,
  records: Iterable<RawRecord> | AsyncIterable<RawRecord>,
  pace: Pace,
  columns: Columns | undefined,
): AsyncGenerator<RawRecord, void> {
  try {
    for await (const record of records) {
      // A long record has taken its time to parse, and takes as much to be read.
      if (pace.due) await pace.rest();
      yield columns?.apply(record) ?? record;
      if (pace.due) await pace.rest();
    }
  } catch (error) {
    throw withPlace(error, file);
  }
}

/** A syntax error with the file, line and column that the user needs. */
function withPlace(error: unknown, { name, bytes }: TextFile): unknown {
  if (!(error instanceof JsonFault)) return error;
  const { offset, found, expected, fix } = error;
  const lines = new LineCounter(bytes);
  const where = `${name}, line ${count(lines.lineOf(offset))}, column ${count(lines.columnOf(offset))}`;
  return new LoamError({ code: 'damaged', found, expected, where, fix });
}

/** Fields without use that a remark names. */
const NAMES_SHOWN = 10;

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
    fields: string[] = [],
  ) {
    const isNamed =
      records > 0 && problems.every(({ kind, severity }) => kind === 'missing-field' || severity !== 'error');
    super({
      code: 'no-examples',
      found:
        records === 0
          ? 'there are no records in it'
          : records === 1
            ? `its only record cannot be used (${firstReasons(problems)})`
            : `none of its ${records < MAX_BAD_RECORDS ? '' : 'first '}${count(records)} records can be used (${firstReasons(problems)})`,
      where: file,
      ...(records === 0 && { expected: 'a list of examples' }),
      ...(isNamed && { fix: COLUMNS_ADVICE, choices: fields }),
    });
  }
}

/** Different unused names that are counted; records whose field names are data would bring millions. */
const MAX_UNUSED_NAMES = 50;

/** Where so many records come before the first that can be used, there is none. */
const MAX_BAD_RECORDS = 10_000;

/** Unusable records that are told of one by one: each costs some 150 bytes, and whoever has more has a mistake in them all. */
const MAX_ERRORS = 100_000;

/** Different sentences that are remembered. */
const MAX_REASONS = 1000;

/** Collects what the records of one file come to. */
class Collector {
  readonly examples: Example[] = [];
  readonly problems: Problem[] = [];
  readonly shapes = new Set<Shape>();
  readonly unused = new Map<string, number>();
  records = 0;
  /** Names of the fields of the first record. */
  fields: string[] = [];
  private errors = 0;
  private readonly repeats = new Repeats();
  private readonly reasons = new Map<string, string>();

  constructor(
    private readonly file: string,
    private readonly excluded: ReadonlySet<number>,
    private readonly read: (value: unknown) => ReadRecord & { task?: Task },
  ) {}

  add(raw: RawRecord): void {
    const { line, index } = raw;
    if ('remark' in raw) {
      this.problems.push({ severity: 'warning', line, index, ...raw.remark });
      return;
    }
    if (++this.records > MAX_RECORDS) {
      throw new LoamError({
        code: 'too-large',
        found: 'there are too many records in this file',
        expected: `at most ${count(MAX_RECORDS)}`,
        where: this.file,
        fix: 'split it',
      });
    }
    if (this.excluded.has(index)) return;
    try {
      if ('fault' in raw) throw new BadRecord(raw.fault.kind, raw.fault.reason);
      if (this.records === 1 && isObject(raw.value)) this.fields = choosable(Object.keys(raw.value));
      const { shape, messages, tools, remarks, unused, task } = this.read(raw.value);
      for (const name of unused) this.countUnused(name);
      const repeat = this.repeats.note({ messages, tools }, line);
      for (const remark of [...(raw.remarks ?? []), ...remarks, ...(repeat === undefined ? [] : [repeat])]) {
        this.problems.push({ severity: 'warning', line, index, ...remark });
      }
      if (repeat?.kind === 'duplicate') return;
      this.shapes.add(shape);
      this.examples.push({
        messages,
        ...(tools && { tools }),
        source: { file: this.file, line, index },
        ...(task && { task }),
      });
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error;
      this.problems.push({ severity: 'error', kind: error.kind, line, index, reason: this.once(error.reason) });
      if (this.examples.length === 0 && this.problems.length >= MAX_BAD_RECORDS) {
        throw new NoExamplesError(this.file, this.records, this.problems, this.fields);
      }
      if (++this.errors >= MAX_ERRORS) {
        throw new LoamError({
          code: 'too-large',
          found: `${count(this.errors)} of its first ${count(this.records)} records cannot be used (${firstReasons(this.problems)})`,
          where: this.file,
          fix: 'mend what the records have in common',
        });
      }
    }
  }

  /** The same sentence is one text in memory: a file may give it a million times. */
  private once(reason: string): string {
    const known = this.reasons.get(reason);
    if (known === undefined && this.reasons.size < MAX_REASONS) this.reasons.set(reason, reason);
    return known ?? reason;
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

/** Two choices of the same file are different data. @param read with the hash of the bytes alone */
export function hashAsRead({
  sha256,
  excluded = [],
  columns,
}: Pick<Source, 'sha256' | 'excluded' | 'columns'>): string {
  if (excluded.length === 0 && columns === undefined) return sha256;
  const read = columns === undefined ? '' : ` read as ${columns}`;
  return createHash('sha256')
    .update(`${sha256} without ${excluded.join(' ')}${read}`)
    .digest('hex');
}
