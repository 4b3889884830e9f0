import { type CsvError, parse } from 'csv-parse';
import { parse as parseSync } from 'csv-parse/sync';
import { LoamError } from '../../base/errors.js';
import { OPEN_LIST, OPEN_OBJECT, skipSpace } from '../../base/json.js';
import { COLUMNS_ADVICE, choosable, plainName } from '../columns.js';
import { BadRecord, MAX_RECORD_BYTES, type RawRecord, type Remark } from '../example.js';
import { chooseFields, isChatTable, isKnownField, isTextRecord } from '../fields.js';
import type { Pace } from '../source.js';
import { withLists } from './jsonl.js';
import { checkRecordBytes, LineCounter, type Reader, rawRecord, type TextFile } from './reader.js';

interface CsvTable {
  delimiter: string;
  /** Offset of the first byte behind the header row. */
  start: number;
  /** Name of each column, in lower case; of several columns of one name only the first keeps it. */
  columns: string[];
}

/**
 * CSV with a header row; comma, semicolon or tab. A row that is not CSV costs one record, and reading goes on at the next line of the
 * file.
 */
export const csv: Reader<CsvTable> = {
  container: 'csv',

  detect(file) {
    const first = file.bytes[skipSpace(file.bytes, 0)];
    return first === OPEN_LIST || first === OPEN_OBJECT ? undefined : csvTable(file);
  },

  read: tableRecords,

  write(records, { delimiter, columns }) {
    const named = columns.filter((name) => name !== '');
    const cell = (value: unknown) =>
      typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '');
    const rows = records.map((record) => named.map((name) => cell((record as Record<string, unknown>)[name])));
    return `${[named, ...rows].map((row) => row.map((cell) => quoteCell(cell, delimiter)).join(delimiter)).join('\n')}\n`;
  },
};

function quoteCell(text: string, delimiter: string): string {
  return text.includes(delimiter) || /["\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Detects a table by its header row: the delimiter is the one that yields a question and an answer column, or one of texts.
 * @returns undefined if there is no such row
 * @throws LoamError for a table of which these columns are not known
 */
function csvTable({ bytes, name: file, columns: chosen }: TextFile): CsvTable | undefined {
  const refuse = (found: string, fix: string, choices?: string[]) =>
    new LoamError({ code: 'invalid-data', found, where: file, fix, choices });
  let near: LoamError | undefined;
  for (const { delimiter, cells, end, isTable } of headers(bytes)) {
    const own = cells.map(plainName);
    const { names, problem } = knownNames(own, chosen);
    const columns = names.map((name, i) => (names.indexOf(name) === i ? name : ''));
    const missing = problem ?? (isChatTable(columns) ? undefined : missingColumn(columns));
    if (missing === undefined) {
      const twice = names.findIndex((name, i) => isKnownField(name) && columns[i] === '');
      if (twice < 0) return { delimiter, start: end, columns };
      throw refuse(`two columns of this table are called "${own[twice]}"`, 'rename one');
    }
    // A name that Loam knows, or one like it, says that this is the header of a table and not the first line of a text.
    if (own.length > 1 && (own.some(isKnownField) || missing.includes('(is it ') || isTable())) {
      near ??= refuse(`in the header row of this table, ${missing}`, COLUMNS_ADVICE, choosable(cells));
    }
  }
  if (near === undefined && chosen === undefined) return undefined;
  throw near ?? refuse('there is no header row with the columns that are named', COLUMNS_ADVICE);
}

/** The names by which the rest of Loam knows the columns, or why those that were chosen are none of them. */
function knownNames(own: string[], chosen: TextFile['columns']): { names: string[]; problem?: string } {
  try {
    return { names: chosen?.rename(own) ?? own };
  } catch (error) {
    if (error instanceof BadRecord) return { names: own, problem: error.reason.replaceAll('field ', 'column ') };
    throw error;
  }
}

/** Why columns of these names are no questions and answers; undefined if they are. */
function missingColumn(names: readonly string[]): string | undefined {
  try {
    if (!isTextRecord(names)) chooseFields(names);
    return undefined;
  } catch (error) {
    if (error instanceof BadRecord) return error.reason.replaceAll('field ', 'column ');
    throw error;
  }
}

/**
 * Whether a text begins with the header row of a table: one that Loam reads, or single words of which it knows one. Not the word "Text"
 * alone, which may be a title.
 */
export function looksLikeTable({ bytes }: TextFile): boolean {
  for (const { cells } of headers(bytes)) {
    const names = cells.map(plainName);
    const known = names.filter(isKnownField);
    if (names.length < 2 || known.length === 0) continue;
    if (names.every((name) => /^[^\W_]{1,30}$/.test(name)) || missingColumn(known) === undefined) return true;
  }
  return false;
}

/** A header row is short; a first row that needs more is text. */
const HEADER_BYTES = 64 * 1024;

interface Header {
  delimiter: string;
  cells: string[];
  /** Offset behind it. */
  end: number;
  /** Whether it looks like the names of columns: short, different, and the next row has as many cells. */
  isTable(): boolean;
}

/** The first row as each delimiter cuts it. */
function* headers(bytes: Buffer): Generator<Header, void> {
  // Excel writes a first line "sep=;" to say its delimiter.
  const excel = /^sep=([,;\t])\r?\n/i.exec(bytes.toString('latin1', 0, 16));
  const at = excel?.[0].length ?? 0;
  const rowsOf = (delimiter: string, from: number) => {
    const options = { delimiter, record_delimiter: LINE_ENDS, skip_empty_lines: true, info: true, to: 1 };
    try {
      return parseSync(bytes.subarray(from, from + HEADER_BYTES), options) as unknown as {
        record: string[];
        info: { bytes: number };
      }[];
    } catch {
      return [];
    }
  };
  for (const delimiter of excel === null ? [',', ';', '\t'] : [excel[1]!]) {
    for (const { record: cells, info } of rowsOf(delimiter, at)) {
      const end = at + info.bytes;
      const isTable = () =>
        cells.length > 1 &&
        new Set(cells).size === cells.length &&
        cells.every((cell) => /^\s*[\p{L}_][^\n]{0,30}$/u.test(cell)) &&
        rowsOf(delimiter, end)[0]?.record.length === cells.length;
      yield { delimiter, cells, end, isTable };
    }
  }
}

/** As objects by column name. Rows without any text are no records. */
async function* tableRecords(bytes: Buffer, table: CsvTable, pace: Pace): AsyncGenerator<RawRecord> {
  const lines = new LineCounter(bytes);
  let index = 0;
  const record = (start: number, end: number, cells: readonly string[], remarks: Remark[] = []): RawRecord => {
    const raw = rawRecord({ line: lines.lineOf(start), index: index++ }, () => {
      checkRecordBytes(bytes.subarray(start, end));
      return toRecord(cells, table.columns);
    });
    return { ...raw, remarks };
  };
  let at = table.start;
  while (at < bytes.length) {
    const chunks = goodRows(bytes, at, table.delimiter, pace);
    let step = await chunks.next();
    for (; !step.done; step = await chunks.next()) {
      for (const { cells, end } of step.value) {
        if (!isBlank(cells)) yield record(skipLineEnds(bytes, at), end, cells);
        at = end;
      }
    }
    if (step.value === undefined) return;
    const start = skipLineEnds(bytes, at);
    at = lineEnd(bytes, start);
    const line = bytes.subarray(start, at);
    const cells = line.length > MAX_RECORD_BYTES ? undefined : looseCells(line, table);
    if (cells !== undefined) {
      const reason = 'quotes inside a cell that is not quoted were taken as they stand';
      yield record(start, at, cells, [{ kind: 'loose-quotes', reason }]);
    } else {
      const kind = step.value === 'CSV_MAX_RECORD_SIZE' ? 'too-long' : 'syntax';
      const reason = REASONS[step.value] ?? 'the row is not CSV';
      yield { line: lines.lineOf(start), index: index++, fault: { kind, reason } };
    }
    if (pace.due) await pace.rest();
  }
}

/** What is parsed between two looks at the clock; about 2 ms. */
const CHUNK_BYTES = 64 * 1024;

interface Row {
  cells: string[];
  /** Offset behind the row and its line end. */
  end: number;
}

const LINE_ENDS = ['\r\n', '\n', '\r'];

function options(delimiter: string) {
  return {
    delimiter,
    record_delimiter: LINE_ENDS,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD_BYTES,
  };
}

/** In words, by csv-parse's code: its own message quotes the cell. */
const REASONS: Record<string, string> = {
  CSV_QUOTE_NOT_CLOSED: 'a double quote opens a cell and none closes it',
  CSV_INVALID_CLOSING_QUOTE: 'text follows the closing quote of a cell; write quotes inside a cell twice ("")',
  INVALID_OPENING_QUOTE: 'a quote stands inside a cell that is not quoted; quote the cell and double the quote',
  CSV_MAX_RECORD_SIZE: 'the row does not end, probably because a double quote is not closed',
};

/**
 * Parses rows from `from` on until the end or the first row that is not CSV; yields them in chunks, then returns that error. A parser for
 * each chunk: a bad row costs no more than one, and a stream of them would cost several times as much.
 */
async function* goodRows(
  bytes: Buffer,
  from: number,
  delimiter: string,
  pace: Pace,
): AsyncGenerator<Row[], string | undefined> {
  for (let at = from; at < bytes.length; ) {
    const stop = lineBreakAfter(bytes, at + CHUNK_BYTES);
    const isTooLong = stop - at > MAX_RECORD_BYTES || isTooWide(bytes.subarray(at, stop), delimiter);
    let { rows, code } = isTooLong ? tooLong : chunkRows(bytes, at, stop, delimiter);
    if (code === 'CSV_QUOTE_NOT_CLOSED' && stop < bytes.length) {
      // The chunk ends within a cell; the rows before it are whole.
      yield rows;
      at = rows.at(-1)?.end ?? at;
      ({ rows, code } = await longRow(bytes, at, delimiter, pace));
    }
    yield rows;
    if (code !== undefined) return code;
    at = rows.at(-1)?.end ?? stop;
    if (at < stop && skipLineEnds(bytes, at) >= stop) at = stop;
    if (pace.due) await pace.rest();
  }
  return undefined;
}

interface Rows {
  rows: Row[];
  /** csv-parse's, of the row behind them. */
  code?: string;
}

/** Cells of a row, or of the short ones before it: each takes memory, be it empty. A long text in quotes has fewer marks. */
const MAX_CELLS = 300_000;

function isTooWide(rows: Buffer, delimiter: string): boolean {
  if (rows.length < MAX_CELLS) return false;
  let cells = 0;
  for (let at = rows.indexOf(delimiter); at >= 0 && cells <= MAX_CELLS; at = rows.indexOf(delimiter, at + 1)) cells++;
  return cells > MAX_CELLS;
}

const tooLong: Rows = { rows: [], code: 'CSV_MAX_RECORD_SIZE' };

/** The whole rows between two offsets. */
function chunkRows(bytes: Buffer, start: number, stop: number, delimiter: string): Rows {
  const rows: Row[] = [];
  // A file may have a bad row to every good one, and a stack takes longer than a row.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    parseSync(bytes.subarray(start, stop), { ...options(delimiter), ...collect(rows, start) });
    return { rows };
  } catch (error) {
    return { rows, code: (error as CsvError).code ?? '' };
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** A row that may have megabytes, and those that are parsed along with its last piece. */
async function longRow(bytes: Buffer, start: number, delimiter: string, pace: Pace): Promise<Rows> {
  const rows: Row[] = [];
  const parser = parse({ ...options(delimiter), ...collect(rows, start) });
  // The callbacks below get the error; without a listener it would also be thrown.
  parser.on('error', () => {});
  const failure = (send: (done: (error?: Error | null) => void) => void) =>
    new Promise<string | undefined>((resolve) =>
      send((error) => resolve(error ? ((error as CsvError).code ?? '') : undefined)),
    );
  try {
    for (let at = start; at < bytes.length; at += CHUNK_BYTES) {
      const code = await failure((done) => parser.write(bytes.subarray(at, at + CHUNK_BYTES), done));
      if (code !== undefined || rows.length > 0) return { rows, code };
      if (at - start > MAX_RECORD_BYTES) return tooLong;
      if (pace.due) await pace.rest();
    }
    const code = await failure((done) => parser.end(done));
    return { rows, code };
  } finally {
    parser.destroy();
  }
}

/** Rows are collected as they come: a parser that fails drops those that it holds. */
function collect(rows: Row[], start: number) {
  return {
    on_record: (cells: string[], info: { bytes: number }) => {
      rows.push({ cells, end: start + info.bytes });
      return null;
    },
  };
}

/** The offset behind the first line break at or after `at`; the end of the file if there is none. */
function lineBreakAfter(bytes: Buffer, at: number): number {
  const end = lineEnd(bytes, Math.min(at, bytes.length));
  return bytes[end] === 0x0d && bytes[end + 1] === 0x0a ? end + 2 : Math.min(end + 1, bytes.length);
}

/** In windows: a file may have one of the two bytes alone, and looking for the other would read it to its end. */
function lineEnd(bytes: Buffer, at: number): number {
  for (let from = at; from < bytes.length; from += CHUNK_BYTES) {
    const window = bytes.subarray(from, from + CHUNK_BYTES);
    const ends = [window.indexOf(0x0a), window.indexOf(0x0d)].filter((end) => end >= 0);
    if (ends.length > 0) return from + Math.min(...ends);
  }
  return bytes.length;
}

function skipLineEnds(bytes: Buffer, at: number): number {
  while (bytes[at] === 0x0a || bytes[at] === 0x0d) at++;
  return at;
}

/** The cells of a line with stray quotes, taken as they stand. On one line only: over several, a lost quote would merge rows. */
function looseCells(line: Buffer, { delimiter, columns }: CsvTable): string[] | undefined {
  try {
    const rows = parseSync(line, { ...options(delimiter), relax_quotes: true });
    return rows.length === 1 && rows[0]!.length === columns.length ? rows[0] : undefined;
  } catch {
    return undefined;
  }
}

function isBlank(cells: readonly string[]): boolean {
  return cells.every((cell) => cell.trim() === '');
}

function toRecord(cells: readonly string[], columns: readonly string[]): Record<string, string> {
  const extra = cells.slice(columns.length);
  if (cells.length < columns.length || !isBlank(extra)) {
    const hint = cells.length > columns.length ? '; a cell that holds the delimiter must be in double quotes' : '';
    throw new BadRecord('columns', `the row has ${cells.length} cells, the header ${columns.length}${hint}`);
  }
  const record = Object.create(null) as Record<string, string>;
  for (const [i, name] of columns.entries()) if (name !== '') record[name] = cells[i]!;
  return withLists(record) as Record<string, string>;
}
