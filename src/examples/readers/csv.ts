import { parse as parseSync } from 'csv-parse/sync';
import { LoamError } from '../../base/errors.js';
import { OPEN_LIST, OPEN_OBJECT, skipSpace } from '../../base/json.js';
import { COLUMNS_ADVICE, choosable, plainName } from '../columns.js';
import { BadRecord, MAX_RECORD_BYTES, type RawRecord, type Remark } from '../example.js';
import { chooseFields, isChatTable, isKnownField, isTextRecord } from '../fields.js';
import { isUsualName } from '../guessColumns.js';
import type { Pace } from '../source.js';
import {
  chunkRows,
  goodRows,
  isTooWide,
  LINE_ENDS,
  lineBreakAfter,
  lineEnd,
  options,
  skipLineEnds,
} from './csvRows.js';
import { withLists } from './jsonl.js';
import { checkRecordBytes, LineCounter, type Reader, rawRecord, type TextFile, textOf } from './reader.js';

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
  if (chosen?.areNumbers) {
    const table = anyTable(bytes, 1);
    if (!table) throw refuse('this is no table', COLUMNS_ADVICE);
    const numbers = table.rows[0]!.map((_, i) => `#${i + 1}`);
    const { names, problem } = knownNames(numbers, chosen);
    if (problem !== undefined) throw refuse(problem, COLUMNS_ADVICE, numbers);
    return { delimiter: table.delimiter, start: table.at, columns: names };
  }
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

/** Excel writes a first line "sep=;" to say its delimiter. */
function excelLine(bytes: Buffer): { at: number; delimiters: string[] } {
  const excel = /^sep=([,;\t])\r?\n/i.exec(bytes.toString('latin1', 0, 16));
  return { at: excel?.[0].length ?? 0, delimiters: excel === null ? [',', ';', '\t'] : [excel[1]!] };
}

/** Bytes of the first rows, by which a table is known. */
const TABLE_BYTES = 1 << 20;

/** The first rows of any table: those of the delimiter that cuts most of them into equally many cells. */
function anyTable(bytes: Buffer, most: number): { delimiter: string; at: number; rows: string[][] } | undefined {
  const { at, delimiters } = excelLine(bytes);
  const end = lineBreakAfter(bytes, at + TABLE_BYTES);
  const found = delimiters.flatMap((delimiter) => {
    if (isTooWide(bytes.subarray(at, end), delimiter)) return [];
    const { rows } = chunkRows(bytes, at, end, delimiter, Math.max(most, 20));
    const cells = rows.map((row) => row.cells).filter((row) => !isBlank(row));
    const width = cells[0]?.length ?? 0;
    const even = cells.filter((row) => row.length === width).length / Math.max(1, cells.length);
    return width > 1 && even > 0.7 ? [{ delimiter, at, rows: cells.slice(0, most), even, width }] : [];
  });
  return found.sort((a, b) => b.even - a.even || b.width - a.width)[0];
}

/**
 * The columns of a table of whatever names, with the values of its first rows. One without a header row has numbers: "#1". Undefined for
 * what is no table.
 */
export function tableColumns(bytes: Buffer, most: number): { name: string; values: string[] }[] | undefined {
  const table = anyTable(bytes, most + 1);
  const [first, ...rest] = table?.rows ?? [];
  if (!first || rest.length === 0) return undefined;
  const isName = (cell: string) => /^\s*[\p{L}\p{M}_#][^\n.?!]{0,40}[?!]?\s*$/u.test(cell);
  const isHeader =
    new Set(first.map(plainName)).size === first.length &&
    first.every((cell, i) => cell.trim() === '' || (isName(cell) && rest.every((row) => row[i] !== cell))) &&
    first.some(
      (cell, i) =>
        isUsualName(cell) ||
        isUnlike(
          cell,
          rest.map((row) => row[i] ?? ''),
        ),
    );
  const rows = isHeader ? rest : [first, ...rest];
  return first.map((cell, i) => ({ name: isHeader ? cell : `#${i + 1}`, values: rows.map((row) => row[i] ?? '') }));
}

/** Whether a cell is a name above values: it is shorter than they are, or they are numbers. */
function isUnlike(name: string, values: readonly string[]): boolean {
  const areNumbers = values.every((value) => /^\s*[\d.,:/-]+\s*$/.test(value));
  return areNumbers || values.reduce((sum, value) => sum + value.length, 0) > name.length * values.length;
}

/** The first row as each delimiter cuts it. */
function* headers(bytes: Buffer): Generator<Header, void> {
  const { at, delimiters } = excelLine(bytes);
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
  for (const delimiter of delimiters) {
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
    if ('fault' in raw) return { ...raw, text: textOf(bytes.subarray(start, end)) };
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
    const isTooLong = line.length > MAX_RECORD_BYTES || isTooWide(line, table.delimiter);
    const cells = isTooLong ? undefined : looseCells(line, table);
    if (cells !== undefined) {
      const reason = 'quotes inside a cell that is not quoted were taken as they stand';
      yield record(start, at, cells, [{ kind: 'loose-quotes', reason }]);
    } else {
      const kind = step.value === 'CSV_MAX_RECORD_SIZE' ? 'too-long' : 'syntax';
      const reason = REASONS[step.value] ?? 'the row is not CSV';
      yield { line: lines.lineOf(start), index: index++, fault: { kind, reason }, text: textOf(line) };
    }
    if (pace.due) await pace.rest();
  }
}

/** In words, by csv-parse's code: its own message quotes the cell. */
const REASONS: Record<string, string> = {
  CSV_QUOTE_NOT_CLOSED: 'a double quote opens a cell and none closes it',
  CSV_INVALID_CLOSING_QUOTE: 'text follows the closing quote of a cell; write quotes inside a cell twice ("")',
  INVALID_OPENING_QUOTE: 'a quote stands inside a cell that is not quoted; quote the cell and double the quote',
  CSV_MAX_RECORD_SIZE: 'the row does not end, probably because a double quote is not closed',
};

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
