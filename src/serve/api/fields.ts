import { UsageError } from '../../base/errors.js';

/** How the APIs for answers refuse: every field of a request and of its parts works, changes nothing, or is named. */

/** Values of a field that change nothing. */
export type Neutral = Record<string, (value: unknown) => boolean>;

export const anything = () => true;
/** Only null. */
export const nothing = () => false;
export const isEmpty = (value: unknown) =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0;

/** @throws UsageError that names a field which is there and without which the answer would be another */
export function requireNeutral(
  name: string,
  value: unknown,
  { isNeutral = nothing, where }: { isNeutral?: Neutral[string]; where?: string },
): void {
  if (value === undefined || value === null || isNeutral(value)) return;
  throw new UsageError({ found: `"${name.slice(0, 60)}" is not served`, where, fix: 'leave it out' });
}

/**
 * @param known names of fields that work
 * @param where what the fields are of, for the error; undefined: the request
 * @throws UsageError that names a field without which the answer would be another
 */
export function refuseOthers(
  fields: object,
  { known, neutral, where }: { known: readonly string[]; neutral?: Neutral; where?: string },
): void {
  for (const [name, value] of Object.entries(fields)) {
    if (known.includes(name)) continue;
    requireNeutral(name, value, {
      isNeutral: neutral && Object.hasOwn(neutral, name) ? neutral[name] : undefined,
      where,
    });
  }
}

export function unserved(found: string, where: string, fix: string): UsageError {
  return new UsageError({ found, where, fix });
}
