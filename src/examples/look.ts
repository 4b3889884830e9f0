import { type ErrorCode, LoamError } from '../base/errors.js';
import { Columns, plainName } from './columns.js';
import type { Dataset, Example, NamedBytes, Problem, ProblemKind } from './example.js';
import { chooseFields, isObject, WrittenNumber } from './fields.js';
import { type ChosenColumns, columnList, columnParts, guessColumns, type TableColumn } from './guessColumns.js';
import { loadDataset, openRecords } from './loadDataset.js';
import { tableColumns } from './readers/csv.js';
import { Pace, readSource, toUtf8 } from './source.js';

/** What a file would be learnt as, before it is taken: which columns are which, who somebody is in a chat, the first examples. */

export interface Look {
  /** How it would be read, as `NamedBytes.columns`; absent if its own names say it. */
  columns?: string;
  /** Whether `columns` is a guess that the person should see. */
  guessed: boolean;
  /** Of a table: its columns with a value each, and which are which. */
  table?: { columns: { name: string; sample: string }[]; chosen: ChosenColumns };
  /** Of a messenger's chat: the people in it, and who of them answers. */
  chat?: { people: string[]; me: string };
  container?: string;
  records: number;
  /** Those that can be used, and the first of them. */
  examples: number;
  first: Example[];
  /** Why records are left out, the most frequent first. */
  left: { reason: string; kind: ProblemKind; records: number; line: number }[];
  /** Why none can be used. */
  problem?: { message: string; code: ErrorCode };
}

const SHOWN = 3;
const REASONS = 20;
const SAMPLE_CHARACTERS = 80;

/**
 * @param options.columns what the person has chosen; without it the file's names count, or a guess
 * @throws LoamError for a file that no choice makes readable
 */
export async function lookAt(
  data: NamedBytes,
  { columns, signal }: { columns?: string; signal?: AbortSignal } = {},
): Promise<Look> {
  const load = async (as: string | undefined) => {
    try {
      return await loadDataset(data, { columns: as, signal });
    } catch (error) {
      if (!(error instanceof LoamError) || !mayBeMended.has(error.code)) throw error;
      return error;
    }
  };
  const found = await load(columns);
  if (found instanceof LoamError && found.code === 'speaker-unknown') {
    const people = found.fault.choices!;
    const me = people[0]!;
    return { ...seen(await load(`me=${me}`)), columns: `me=${me}`, guessed: true, chat: { people, me } };
  }
  const me = columns === undefined ? undefined : Columns.parse(columns).me;
  if (me !== undefined) {
    const asked = await load(undefined);
    const people = asked instanceof LoamError ? (asked.fault.choices ?? []) : [];
    return { ...seen(found), columns, guessed: false, chat: { people, me } };
  }
  const table = await tableOf(data, signal);
  if (!table) {
    if (found instanceof LoamError) throw found;
    return { ...seen(found), guessed: false };
  }
  const sampled = table.map(({ name, values }) => ({
    name,
    sample: (values.find((value) => value.trim() !== '') ?? '').slice(0, SAMPLE_CHARACTERS),
  }));
  if (columns !== undefined || !(found instanceof LoamError)) {
    const chosen = columns === undefined ? ownColumns(table) : chosenIn(columns, table);
    return { ...seen(found), columns, guessed: false, table: { columns: sampled, chosen } };
  }
  const chosen = guessColumns(table);
  if (chosen.question === undefined || chosen.answer === undefined) throw found;
  const list = columnList(chosen);
  return { ...seen(await load(list)), columns: list, guessed: true, table: { columns: sampled, chosen } };
}

/** What another choice of columns may make readable. */
const mayBeMended = new Set<string>(['no-examples', 'invalid-data', 'wrong-format', 'speaker-unknown']);

function seen(found: Dataset | LoamError): Omit<Look, 'guessed'> {
  if (found instanceof LoamError) {
    return { records: 0, examples: 0, first: [], left: [], problem: { message: found.fault.found, code: found.code } };
  }
  const { examples, problems, records, format } = found;
  return {
    container: format.container,
    records,
    examples: examples.length,
    first: examples.slice(0, SHOWN),
    left: reasons(problems),
  };
}

/** Why records are not used, each reason once. */
export function reasons(problems: readonly Problem[]): Look['left'] {
  const counted = new Map<string, Look['left'][number]>();
  for (const { severity, kind, reason, line } of problems) {
    if (severity !== 'error' && kind !== 'duplicate') continue;
    const one = kind === 'duplicate' ? 'it repeats an earlier one' : reason;
    const known = counted.get(one);
    if (known) known.records++;
    else counted.set(one, { reason: one, kind, records: 1, line });
  }
  return [...counted.values()].sort((a, b) => b.records - a.records).slice(0, REASONS);
}

/** Rows that are looked at. */
const ROWS = 50;

/** The columns of a table, or the fields of records that are like rows of one; undefined for anything else. */
async function tableOf(data: NamedBytes, signal: AbortSignal | undefined): Promise<TableColumn[] | undefined> {
  const pace = new Pace(signal);
  const source = await readSource(data, pace);
  try {
    // A table as it stands: a list of columns would be a choice already.
    const file = await openRecords({ ...source, columns: undefined }, pace);
    if (file.container === 'json' || file.container === 'jsonl') {
      const rows: Record<string, unknown>[] = [];
      for await (const raw of file.records()) {
        if ('value' in raw && isObject(raw.value)) rows.push(raw.value);
        if (rows.length >= ROWS) break;
      }
      return fieldsOf(rows);
    }
    if (file.container !== 'csv') return undefined;
  } catch (error) {
    if (!(error instanceof LoamError) || !mayBeMended.has(error.code)) throw error;
  }
  return tableColumns(await toUtf8(source.bytes, pace), ROWS);
}

/** Undefined where the records hold lists: they are conversations. */
function fieldsOf(rows: readonly Record<string, unknown>[]): TableColumn[] | undefined {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const isPlain = (value: unknown) => typeof value !== 'object' || value === null || value instanceof WrittenNumber;
  const plain = names.filter((name) => rows.every((row) => isPlain(row[name])));
  if (plain.length < 2 || names.some((name) => /^(messages|conversations?)$/.test(name))) return undefined;
  const text = (value: unknown) => (value instanceof WrittenNumber ? value.text : String(value ?? ''));
  return plain.map((name) => ({ name, values: rows.map((row) => text(row[name])) }));
}

/** Which columns count by their own names. */
function ownColumns(table: readonly TableColumn[]): ChosenColumns {
  const known = new Map(table.map(({ name }) => [name.trim().toLowerCase(), name]));
  try {
    const { question, context, answer, system } = chooseFields([...known.keys()]);
    const named = Object.entries({ question, context, answer, system }).flatMap(([part, name]) =>
      name === undefined ? [] : [[part, known.get(name)!] as const],
    );
    return Object.fromEntries(named);
  } catch {
    return {};
  }
}

function chosenIn(columns: string, table: readonly TableColumn[]): ChosenColumns {
  const { chosen } = Columns.parse(columns);
  const own = (name: string) => table.find((column) => plainName(column.name) === plainName(name))?.name ?? name;
  return Object.fromEntries(
    columnParts.flatMap((part) => (chosen[part] === undefined ? [] : [[part, own(chosen[part])] as const])),
  );
}
