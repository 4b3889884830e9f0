/** The bytes JSON is made of, and how a stray one is named to a person. */

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_LIST = 0x5b;
export const CLOSE_LIST = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Offset of the first byte at or after `at` that is not white space; `bytes.length` if there is none. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  while (at < bytes.length && isSpace(bytes[at])) at++;
  return at;
}

/** What stands at `at`, in words. Quotes punctuation and a few known words only: anything else may be the user's text. */
export function describeAt(bytes: Buffer, at: number, end: string): { found: string; fix?: string } {
  if (at >= bytes.length) return { found: end, fix: 'the text was cut off; write or copy it again' };
  const head = bytes.toString('utf8', at, at + 16);
  const word = /^-?[A-Za-z_$][\w$]*/.exec(head)?.[0];
  if (word === 'None' || word === 'True' || word === 'False') {
    return { found: `the Python word ${word}`, fix: 'in Python, write the file with json.dump' };
  }
  if (word !== undefined && /^-?(NaN|Infinity|undefined|nan|inf)$/.test(word)) {
    return { found: `the word ${word}, which JSON does not have`, fix: 'write null or leave the field out' };
  }
  if (word === 'null' || word === 'true' || word === 'false') return { found: `the word ${word}` };
  if (head[0] === "'")
    return { found: `a single quote (')`, fix: 'put texts in double quotes; in Python, use json.dump' };
  if (/^[“”„‟‘’«»]/.test(head)) {
    return { found: `a typographic quote (${head[0]})`, fix: 'replace it by a straight double quote (")' };
  }
  if (head.startsWith('//') || head.startsWith('/*') || head[0] === '#') {
    return { found: 'a comment, which JSON does not have', fix: 'take comments out' };
  }
  if (/^[\u00a0\u2000-\u200b\u3000\ufeff]/.test(head))
    return { found: 'a special space character', fix: 'take it out' };
  if (head[0] === '"') return { found: 'a text' };
  if (head[0] === '[') return { found: 'a list' };
  if (head[0] === '{') return { found: 'an object' };
  if (/^[!-/:-@[-`{-~]/.test(head)) return { found: head[0] === ',' ? 'a comma' : `the character '${head[0]}'` };
  if (/^[0-9]/.test(head)) return { found: 'a number' };
  if (/^\p{L}/u.test(head)) return { found: 'a letter' };
  return { found: 'a character that does not belong there' };
}
