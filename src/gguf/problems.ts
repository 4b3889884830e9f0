import { count } from '../util/format.js';
import { MAX_REPORTED_PROBLEMS } from './limits.js';

/** Several problems as the one thing found: the first ten and how many more there are. */
export function describeProblems(problems: readonly string[], place: string): string {
  if (problems.length === 1) return problems[0]!;
  const shown = problems.slice(0, MAX_REPORTED_PROBLEMS).map((problem, i) => `(${i + 1}) ${problem}`);
  const more = problems.length - shown.length;
  if (more > 0) shown.push(`and ${count(more)} more`);
  return `${count(problems.length)} problems in ${place}: ${shown.join('; ')}`;
}
