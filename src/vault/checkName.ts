import { UsageError } from '../util/errors.js';

/** Characters: fits on a phone's line or two. */
const MAX_LENGTH = 100;

/**
 * Checks a name that the user gives: one line of visible text, without what `vault:NAME@VERSION` needs for itself.
 * @throws UsageError
 */
export function checkName(name: string, of: string): void {
  const wrong =
    name.trim() === ''
      ? 'an empty name'
      : [...name].length > MAX_LENGTH
        ? `a name of ${[...name].length} characters`
        : /[\p{Cc}\p{Zl}\p{Zp}]/u.test(name)
          ? 'a name with a line break or another control character'
          : name.includes('@') || name !== name.trim()
            ? 'a name with "@" in it or a space at an end'
            : undefined;
  if (wrong === undefined) return;
  throw new UsageError({ found: `${wrong} for ${of}`, expected: `1 to ${MAX_LENGTH} characters without "@"` });
}
