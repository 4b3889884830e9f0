import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { placeOf } from './placeOf.js';
import type { Problem } from './types.js';

/** How many different reasons the message names; `problems` has them all. */
const REASONS_SHOWN = 3;

function firstReasons(problems: readonly Problem[]): string {
  const seen = new Map<string, string>();
  for (const problem of problems) {
    const { severity, reason } = problem;
    if (severity !== 'error' || seen.has(reason)) continue;
    seen.set(reason, placeOf(problem));
    if (seen.size === REASONS_SHOWN) break;
  }
  return [...seen].map(([reason, place]) => `${place}: ${reason}`).join('; ');
}

/** The file could be read, but not one of its records can be used. */
export class NoExamplesError extends LoamError {
  override readonly name = 'NoExamplesError';
  constructor(
    readonly file: string,
    readonly records: number,
    readonly problems: Problem[],
  ) {
    super({
      found:
        records === 0
          ? 'there are no records in it'
          : records === 1
            ? `its only record cannot be used (${firstReasons(problems)})`
            : `none of its ${count(records)} records can be used (${firstReasons(problems)})`,
      where: file,
      ...(records === 0 ? { expected: 'a list of examples' } : {}),
    });
  }
}
