import { randomBytes } from 'node:crypto';
import { WrittenNumber } from '../fields.js';

/** Stands before a number that was made a text, and in no file. */
const MARK = `\0${randomBytes(12).toString('hex')}`;

/** JSON.parse, with the numbers that it would change kept as they are written. @throws SyntaxError */
export function parseText(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const marked = markNumbers(text);
  if (marked === undefined) return value;
  return JSON.parse(marked, (_, inner: unknown) =>
    typeof inner === 'string' && inner.startsWith(MARK) ? new WrittenNumber(inner.slice(MARK.length)) : inner,
  );
}

/** Valid JSON with those numbers as marked texts; undefined if there are none. */
function markNumbers(text: string): string | undefined {
  const parts: string[] = [];
  let done = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      for (at++; text.charCodeAt(at) !== 0x22; at++) if (text.charCodeAt(at) === 0x5c) at++;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      const start = at;
      while (/[\d.eE+-]/.test(text[at + 1] ?? '')) at++;
      const written = text.slice(start, at + 1);
      if (String(Number(written)) === written) continue;
      parts.push(text.slice(done, start), JSON.stringify(MARK + written));
      done = at + 1;
    }
  }
  return parts.length === 0 ? undefined : parts.join('') + text.slice(done);
}
