import type { Span } from '../types.js';

/** Letters of scripts that put spaces between words: in others the address would take the sentence before it along. */
const LOCAL = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{N}._%+'-]/u;
/** Longest local part (RFC 5321, 4.5.3.1.1). */
const MAX_LOCAL = 64;
const DOMAIN =
  /(?:[\p{L}\p{N}][\p{L}\p{N}-]{0,62}\.){1,6}(?:xn--[a-z0-9-]{2,59}|[A-Za-z]{2,24}|[^ -~\P{L}]{2,24})(?![A-Za-z0-9-])/uy;

/** E-mail addresses, also with letters beyond ASCII (RFC 6531). */
export function findEmails(text: string): Span[] {
  const spans: Span[] = [];
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    let start = at;
    while (start > 0 && at - start <= MAX_LOCAL && LOCAL.test(text[start - 1]!)) start--;
    while (start < at && /[.'%+-]/.test(text[start]!)) start++;
    if (start === at || at - start > MAX_LOCAL || text[at - 1] === '.') continue;
    DOMAIN.lastIndex = at + 1;
    if (!DOMAIN.test(text)) continue;
    // The remote of a repository, not a person.
    if (text.slice(start, at) === 'git' && text[DOMAIN.lastIndex] === ':') continue;
    spans.push({ kind: 'email', label: 'e-mail address', certainty: 'certain', start, end: DOMAIN.lastIndex });
  }
  return spans;
}
