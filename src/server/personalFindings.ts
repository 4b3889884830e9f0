import type { Dataset } from '../data/types.js';
import type { DatasetInfo } from '../vault/types.js';

/** A private detail in an example, as the page shows it. `example` is the number of its record. */
export interface ShownFinding {
  id: string;
  example: number;
  kind: string;
  field: string;
  start: number;
  end: number;
  preview: string;
}

/** Private details of a data set. */
export function findingsIn(_dataset: Dataset): ShownFinding[] {
  return [];
}

/** What was found when the data set was added or edited. */
export function readFindings({ findings }: DatasetInfo): ShownFinding[] {
  return Array.isArray(findings) ? (findings as unknown as ShownFinding[]) : [];
}
