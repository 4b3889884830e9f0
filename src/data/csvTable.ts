import { parse } from 'csv-parse/sync';
import { LoamError } from '../util/errors.js';
import { BadRecord } from './badRecord.js';
import { chooseFields, isKnownField } from './chooseFields.js';

/** A header row is short; a first row that needs more is text. */
const HEADER_BYTES = 64 * 1024;

/** Recognised in this order when two fit equally well. */
const DELIMITERS = [',', ';', '\t'];

export interface CsvTable {
  delimiter: string;
  /** Offset of the first byte behind the header row. */
  start: number;
  /** Name of each column, in lower case; of several columns of one name only the first keeps it. */
  columns: string[];
}

/** Excel writes a first line "sep=;" to say its delimiter. */
function excelDelimiter(bytes: Buffer): { delimiter: string; length: number } | undefined {
  const match = /^sep=([,;\t])\r?\n/i.exec(bytes.toString('latin1', 0, 16));
  return match === null ? undefined : { delimiter: match[1]!, length: match[0].length };
}

function headerRow(bytes: Buffer, at: number, delimiter: string): { names: string[]; end: number } | undefined {
  try {
    const rows = parse(bytes.subarray(at, at + HEADER_BYTES), {
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

/**
 * Recognises a table by its header row: the delimiter is the one that yields a question and an answer column.
 * @returns undefined when the text has no such row
 * @throws LoamError when it is a table with one of the two columns and not the other
 */
export function csvTable(bytes: Buffer, file: string): CsvTable | undefined {
  const excel = excelDelimiter(bytes);
  const at = excel?.length ?? 0;
  let near: { reason: string; delimiter: string } | undefined;
  for (const delimiter of excel === undefined ? DELIMITERS : [excel.delimiter]) {
    const header = headerRow(bytes, at, delimiter);
    if (header === undefined) continue;
    const plain = header.names.map(plainName);
    const columns = plain.map((name, i) => (plain.indexOf(name) === i ? name : ''));
    try {
      chooseFields(columns);
      const twice = plain.find((name, i) => isKnownField(name) && plain.indexOf(name) !== i);
      if (twice !== undefined) {
        throw new LoamError({
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
    found: `in the header row of this table, ${near.reason}`,
    where: file,
    fix: 'name the columns "instruction", "input" (if there is one) and "output" in the first row',
  });
}
