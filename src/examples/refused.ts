import type { NamedBytes, Problem, ProblemKind } from './example.js';
import { ANSWER, CONTEXT, isObject, QUESTION, SYSTEM, WrittenNumber } from './fields.js';
import { openRecords } from './loadDataset.js';
import { Pace, readSource } from './source.js';

/** Records that cannot be learnt, as they stand in their file: to be looked at and repaired. */

export interface RefusedRecord {
  index: number;
  line: number;
  kind: ProblemKind;
  reason: string;
  /** As `loadDataset` would read it again, for a file that is written anew. */
  value: unknown;
  /** The record as text. */
  text: string;
  /** What is there of a question and its answer. */
  draft: { instruction: string; input: string; output: string; system: string };
}

/** @param problems those that `loadDataset` found in the same file */
export async function refusedRecords(
  data: NamedBytes,
  problems: readonly Problem[],
  signal?: AbortSignal,
): Promise<RefusedRecord[]> {
  const errors = problems.filter(({ severity }) => severity === 'error');
  const found = new Map(errors.map(({ index, kind, reason }) => [index, { kind, reason }]));
  if (found.size === 0) return [];
  const pace = new Pace(signal);
  const file = await openRecords(await readSource(data, pace), pace);
  const refused: RefusedRecord[] = [];
  for await (const raw of file.records()) {
    const { index, line } = raw;
    const problem = found.get(index);
    if (problem === undefined || 'remark' in raw) continue;
    if ('value' in raw) {
      const isKept = isObject(raw.value) && typeof raw.value.row === 'string' && raw.value.refused !== undefined;
      const text = isKept ? String((raw.value as { row: string }).row) : JSON.stringify(raw.value, null, 1);
      refused.push({ index, line, ...problem, value: raw.value, text, draft: draftOf(raw.value) });
    } else {
      const { text = '' } = raw;
      const value = { refused: problem.reason, row: text };
      refused.push({ index, line, ...problem, value, text, draft: draftOf(undefined) });
    }
  }
  return refused;
}

function draftOf(value: unknown): RefusedRecord['draft'] {
  const record = isObject(value) ? value : {};
  const first = (names: readonly string[]) => names.find((name) => Object.hasOwn(record, name));
  const question = first(QUESTION);
  const text = (name: string | undefined) => {
    const found = name === undefined ? '' : (record[name] ?? '');
    return typeof found === 'string' ? found : found instanceof WrittenNumber ? found.text : JSON.stringify(found);
  };
  return {
    instruction: text(question),
    input: text(first(CONTEXT.filter((name) => name !== question))),
    output: text(first(ANSWER)),
    system: text(first(SYSTEM)),
  };
}
