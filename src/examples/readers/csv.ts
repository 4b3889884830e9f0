import { type CsvError, parse } from 'csv-parse';
import { parse as parseSync } from 'csv-parse/sync';
import { LoamError } from '../../base/errors.js';
import { OPEN_LIST, OPEN_OBJECT, skipSpace } from '../../base/json.js';
import { BadRecord, MAX_RECORD_BYTES, type RawRecord, type Remark } from '../example.js';
import { chooseFields, isKnownField, isTextRecord } from '../fields.js';
import type { Pace } from '../source.js';
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
    const rows = records.map((record) => named.map((name) => String((record as Record<string, unknown>)[name] ?? '')));
    return `${[named, ...rows].map((row) => row.map((cell) => quoteCell(cell, delimiter)).join(delimiter)).join('\n')}\n`;
  },
};

function quoteCell(text: string, delimiter: string): string {
  return text.includes(delimiter) || /["\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A header row is short; a first row that needs more is text. */
const HEADER_BYTES = 64 * 1024;

/** Recognised in this order when two fit equally well. */
const DELIMITERS = [',', ';', '\t'];

/**
 * Whether a text begins with the header row of a table: of one that Loam reads, or of single words that it knows one of. Not the word
 * "Text" alone, which may be a title.
 */
export function looksLikeTable({ bytes }: TextFile): boolean {
  return DELIMITERS.some((delimiter) => {
    const names = headerRow(bytes, excelDelimiter(bytes)?.length ?? 0, delimiter)?.names ?? [];
    const known = names.map(plainName).filter(isKnownField);
    if (names.length < 2 || known.length === 0) return false;
    return names.every((name) => /^\s*\w{1,30}\s*$/.test(name)) || isPair(known);
  });
}

function isPair(names: readonly string[]): boolean {
  try {
    return chooseFields(names) !== undefined;
  } catch (error) {
    if (error instanceof BadRecord) return false;
    throw error;
  }
}

/**
 * Recognises a table by its header row: the delimiter is the one that yields a question and an answer column, or one of texts.
 * @returns undefined when the text has no such row
 * @throws LoamError when it is a table with one of the two columns and not the other
 */
function csvTable({ bytes, name: file }: TextFile): CsvTable | undefined {
  const excel = excelDelimiter(bytes);
  const at = excel?.length ?? 0;
  let near: { reason: string; delimiter: string } | undefined;
  for (const delimiter of excel === undefined ? DELIMITERS : [excel.delimiter]) {
    const header = headerRow(bytes, at, delimiter);
    if (header === undefined) continue;
    const plain = header.names.map(plainName);
    const columns = plain.map((name, i) => (plain.indexOf(name) === i ? name : ''));
    try {
      if (!isTextRecord(columns)) chooseFields(columns);
      const twice = plain.find((name, i) => isKnownField(name) && plain.indexOf(name) !== i);
      if (twice !== undefined) {
        throw new LoamError({
          code: 'invalid-data',
          found: `two columns of this table are called "${twice}"`,
          where: file,
          fix: 'rename one',
        });
      }
      return { delimiter, start: header.end, columns };
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error;
      // A name that Loam knows, or one like it, says that this is the header of a table and not the first line of a text.
      if (columns.length > 1 && (columns.some(isKnownField) || error.reason.includes('(is it '))) {
        near ??= { reason: error.reason.replaceAll('field ', 'column '), delimiter };
      }
    }
  }
  if (near === undefined) return undefined;
  throw new LoamError({
    code: 'invalid-data',
    found: `in the header row of this table, ${near.reason}`,
    where: file,
    fix: 'name the columns "instruction", "input" (if there is one) and "output" in the first row',
  });
}

/** Excel writes a first line "sep=;" to say its delimiter. */
function excelDelimiter(bytes: Buffer): { delimiter: string; length: number } | undefined {
  const match = /^sep=([,;\t])\r?\n/i.exec(bytes.toString('latin1', 0, 16));
  return match === null ? undefined : { delimiter: match[1]!, length: match[0].length };
}

function headerRow(bytes: Buffer, at: number, delimiter: string): { names: string[]; end: number } | undefined {
  try {
    const rows = parseSync(bytes.subarray(at, at + HEADER_BYTES), {
      delimiter,
      record_delimiter: ['\r\n', '\n', '\r'],
      skip_empty_lines: true,
      info: true,
      to: 1,
    }) as unknown as { record: string[]; info: { bytes: number } }[];
    const row = rows[0];
    return row === undefined ? undefined : { names: row.record, end: at + row.info.bytes };
  } catch {
    return undefined;
  }
}

function plainName(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/[\s-]+/g, '_');
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
    const cells = looseCells(line, table);
    if (cells !== undefined) {
      const reason = 'quotes inside a cell that is not quoted were taken as they stand';
      yield record(start, at, cells, [{ kind: 'loose-quotes', reason }]);
    } else {
      yield { line: lines.lineOf(start), index: index++, fault: reasonOf(step.value) };
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

function options(delimiter: string) {
  return {
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD_BYTES,
  };
}

/** In words, by csv-parse's code: its own message quotes the cell. */
function reasonOf(code: string): { kind: 'syntax' | 'too-long'; reason: string } {
  switch (code) {
    case 'CSV_QUOTE_NOT_CLOSED':
      return { kind: 'syntax', reason: 'a double quote opens a cell and none closes it' };
    case 'CSV_INVALID_CLOSING_QUOTE':
      return {
        kind: 'syntax',
        reason: 'text follows the closing quote of a cell; write quotes inside a cell twice ("")',
      };
    case 'INVALID_OPENING_QUOTE':
      return {
        kind: 'syntax',
        reason: 'a quote stands inside a cell that is not quoted; quote the cell and double the quote',
      };
    case 'CSV_MAX_RECORD_SIZE':
      return { kind: 'too-long', reason: 'the row does not end, probably because a double quote is not closed' };
    default:
      return { kind: 'syntax', reason: 'the row is not CSV' };
  }
}

/** Parses rows from `from` on until the end or the first row that is not CSV; yields them in chunks, then returns that error. */
async function* goodRows(
  bytes: Buffer,
  from: number,
  delimiter: string,
  pace: Pace,
): AsyncGenerator<Row[], string | undefined> {
  let rows: Row[] = [];
  const parser = parse({
    ...options(delimiter),
    // Collected here and not read from the stream: a stream that fails drops the rows it holds.
    on_record: (cells: string[], info) => {
      rows.push({ cells, end: from + info.bytes });
      return null;
    },
  });
  // The callbacks below get the error; without a listener it would also be thrown.
  parser.on('error', () => {});
  const failure = (send: (done: (error?: Error | null) => void) => void) =>
    new Promise<string | undefined>((resolve) =>
      send((error) => resolve(error ? ((error as CsvError).code ?? '') : undefined)),
    );
  try {
    for (let at = from; at < bytes.length; at += CHUNK_BYTES) {
      const code = await failure((done) => parser.write(bytes.subarray(at, at + CHUNK_BYTES), done));
      yield rows;
      rows = [];
      if (code !== undefined) return code;
      if (pace.due) await pace.rest();
    }
    const code = await failure((done) => parser.end(done));
    yield rows;
    return code;
  } finally {
    parser.destroy();
  }
}

function lineEnd(bytes: Buffer, at: number): number {
  while (at < bytes.length && bytes[at] !== 0x0a && bytes[at] !== 0x0d) at++;
  return at;
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
  return record;
}
