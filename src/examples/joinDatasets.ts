import { createHash } from 'node:crypto';
import { count } from '../base/format.js';
import type { Dataset, NamedBytes } from './example.js';
import { Repeats } from './split.js';

/** Several files of examples that are learnt from in one run. */

/** A file, or its content under a name. */
export type DataSource = string | NamedBytes;

/** One or more, in order. */
export type DataSources = DataSource | readonly DataSource[];

export function listSources(data: DataSources): readonly DataSource[] {
  return Array.isArray(data) ? (data as readonly DataSource[]) : [data as DataSource];
}

/**
 * All examples, each once, in order. One alone stays as it is.
 * @returns how many were left out because an earlier file has them, besides
 */
export function joinDatasets(datasets: readonly Dataset[]): { dataset: Dataset; repeated: number } {
  const [first] = datasets;
  if (datasets.length === 1) return { dataset: first!, repeated: 0 };
  const repeats = new Repeats();
  const all = datasets.flatMap(({ examples }) => examples);
  const examples = all.filter((example) => repeats.note(example, example.source.line)?.kind !== 'duplicate');
  const shapes = new Set(datasets.map(({ format }) => format.shape));
  const hash = createHash('sha256').update(`together ${datasets.map(({ sha256 }) => sha256).join(' ')}`);
  const dataset: Dataset = {
    file: `${first!.file} and ${count(datasets.length - 1)} more`,
    format: { container: first!.format.container, shape: shapes.size === 1 ? first!.format.shape : 'mixed' },
    examples,
    problems: datasets.flatMap(({ problems }) => problems),
    records: datasets.reduce((sum, { records }) => sum + records, 0),
    unusedFields: [],
    sha256: hash.digest('hex'),
  };
  return { dataset, repeated: all.length - examples.length };
}
