import type { Span } from '../types.js';

const MAX_URL = 2048;
const END = /[\s"'<>`\\]/;
/** Names of parameters whose value opens a door. */
const SECRET =
  /[?&#;](?:access_?token|auth(?:_?token)?|token|api_?key|key|secret|client_secret|password|passwd|pwd|signature|sig|x-amz-signature|session(?:_?id)?|code)=[^&#]{6,}/i;

/** URLs that hold a password or a token. Other URLs are public by their nature. */
export function findUrls(text: string): Span[] {
  const spans: Span[] = [];
  let after = 0;
  for (let at = text.indexOf('://'); at >= 0; at = text.indexOf('://', Math.max(at + 3, after))) {
    let start = at;
    while (start > after && at - start < 20 && /[a-zA-Z0-9+.-]/.test(text[start - 1]!)) start--;
    let end = at + 3;
    while (end < text.length && end - at < MAX_URL && !END.test(text[end]!)) end++;
    while (/[.,;:!?)\]}]/.test(text[end - 1]!)) end--;
    after = end;
    if (start === at) continue;
    const rest = text.slice(at + 3, end);
    const user = /^[^/?#@:]{0,256}:([^/?#@]{1,256})@[^/?#\s]/.exec(rest);
    // {password}, $PASSWORD and the like stand for one.
    if (user && !/^[{$<[%]|^(?:pass|password|pwd|\*+|x+)$/i.test(user[1]!)) {
      spans.push({ kind: 'url', label: 'URL with a password', certainty: 'certain', start, end });
    } else if (SECRET.test(rest) && !/=(?:your|my|<|\{|\$|x{3,}|\*)/i.test(SECRET.exec(rest)![0])) {
      spans.push({ kind: 'url', label: 'URL with a token', certainty: 'likely', start, end });
    }
  }
  return spans;
}
