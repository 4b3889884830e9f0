import { count } from '../util/format.js';

/**
 * Where a record stands, as a person finds it: "record 3, line 12", both from 1. The number says more than the line in a file that
 * some program wrote on a single one. A remark about the whole file (index -1) has the line alone.
 */
export function placeOf({ line, index }: { line: number; index: number }): string {
  return index < 0 ? `line ${count(line)}` : `record ${count(index + 1)}, line ${count(line)}`;
}
