/** Longest field name that a message repeats: a longer one may be the user's text in the wrong place. */
const MAX_NAME_CHARACTERS = 30;

/** A field name as it may stand in a message: quoted, without control or direction characters; a long one is only called so. */
export function quoteName(name: string): string {
  if (name.length > MAX_NAME_CHARACTERS) return 'a long name';
  return `"${name.replace(/[\p{C}\p{Z}"\\]/gu, (c) => (c === ' ' ? ' ' : '?'))}"`;
}
