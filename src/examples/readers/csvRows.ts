import { type CsvError, parse } from 'csv-parse';
import { parse as parseSync } from 'csv-parse/sync';
import { MAX_RECORD_BYTES } from '../example.js';
import type { Pace } from '../source.js';

/** The rows of CSV between two offsets of a file, parsed in chunks: a row that is not CSV ends them, and its code is told. */

/** What is parsed between two looks at the clock; about 2 ms. */
const CHUNK_BYTES = 64 * 1024;

export interface Row {
  cells: string[];
  /** Offset behind the row and its line end. */
  end: number;
}

export const LINE_ENDS = ['\r\n', '\n', '\r'];

export function options(delimiter: string) {
  return {
    delimiter,
    record_delimiter: LINE_ENDS,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD_BYTES,
  };
}

/**
 * Parses rows from `from` on until the end or the first row that is not CSV; yields them in chunks, then returns that error. A parser for
 * each chunk: a bad row costs no more than one, and a stream of them would cost several times as much.
 */
export async function* goodRows(
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

export function isTooWide(rows: Buffer, delimiter: string): boolean {
  if (rows.length < MAX_CELLS) return false;
  const mark = delimiter.charCodeAt(0);
  let cells = 0;
  for (let at = rows.indexOf(mark); at >= 0 && cells <= MAX_CELLS; at = rows.indexOf(mark, at + 1)) cells++;
  return cells > MAX_CELLS;
}

const tooLong: Rows = { rows: [], code: 'CSV_MAX_RECORD_SIZE' };

/** The whole rows between two offsets. */
export function chunkRows(bytes: Buffer, start: number, stop: number, delimiter: string, most = -1): Rows {
  const rows: Row[] = [];
  // A file may have a bad row to every good one, and a stack takes longer than a row.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    parseSync(bytes.subarray(start, stop), { ...options(delimiter), ...collect(rows, start), to: most });
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
export function lineBreakAfter(bytes: Buffer, at: number): number {
  const end = lineEnd(bytes, Math.min(at, bytes.length));
  return bytes[end] === 0x0d && bytes[end + 1] === 0x0a ? end + 2 : Math.min(end + 1, bytes.length);
}

/** In windows: a file may have one of the two bytes alone, and looking for the other would read it to its end. */
export function lineEnd(bytes: Buffer, at: number): number {
  for (let from = at; from < bytes.length; from += CHUNK_BYTES) {
    const window = bytes.subarray(from, from + CHUNK_BYTES);
    const ends = [window.indexOf(0x0a), window.indexOf(0x0d)].filter((end) => end >= 0);
    if (ends.length > 0) return from + Math.min(...ends);
  }
  return bytes.length;
}

export function skipLineEnds(bytes: Buffer, at: number): number {
  while (bytes[at] === 0x0a || bytes[at] === 0x0d) at++;
  return at;
}
