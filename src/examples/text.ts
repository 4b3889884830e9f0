import { bytes as inUnits } from '../base/format.js';
import { BadRecord, type Example, MAX_FIELD_BYTES, type Remark } from './example.js';

/** The kind of a JSON value, as a person says it. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  switch (typeof value) {
    case 'string':
      return 'a text';
    case 'number':
      return 'a number';
    case 'boolean':
      return 'true or false';
    default:
      return 'an object';
  }
}

/**
 * A text field of a record. A number or a truth value is taken as the text it is written as, with a remark: a table of sums or of
 * yes/no labels is meant that way, and refusing it would help nobody. Not so a number that JavaScript cannot hold exactly.
 * @param name how to name the field in a reason: `"output"`, `messages[2].content`
 * @throws BadRecord when it is no text, too long, or holds characters no text has
 */
export function readText(value: unknown, name: string, remarks: Remark[]): string {
  if (typeof value === 'number' || typeof value === 'boolean') {
    if (typeof value === 'number' && !(Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER)) {
      throw new BadRecord('wrong-type', `${name} is a number too large to be exact, expected a text; put it in quotes`);
    }
    remarks.push({ kind: 'converted', reason: `${name} is ${kindOf(value)} and was taken as text` });
    return String(value);
  }
  if (typeof value !== 'string') throw new BadRecord('wrong-type', `${name} is ${kindOf(value)}, expected a text`);
  // A UTF-16 unit takes at most 3 bytes, so most texts need no count.
  if (value.length * 3 > MAX_FIELD_BYTES && Buffer.byteLength(value) > MAX_FIELD_BYTES) {
    const found = `${name} has ${inUnits(Buffer.byteLength(value))}`;
    throw new BadRecord('too-long', `${found}, the limit of a field is ${inUnits(MAX_FIELD_BYTES)}`);
  }
  if (value.includes('\0')) throw new BadRecord('encoding', `${name} holds a NUL character (U+0000)`);
  if (/\p{Surrogate}/u.test(value)) {
    throw new BadRecord('encoding', `${name} holds half a character (a lone surrogate)`);
  }
  if (value.includes('\ufffd')) {
    remarks.push({
      kind: 'damaged-text',
      reason: `${name} holds U+FFFD, which stands where an earlier program lost text`,
    });
  }
  return value;
}

/** As `readText`, and refuses a text of white space only. */
export function readFilledText(value: unknown, name: string, remarks: Remark[]): string {
  if (value === null || value === undefined) throw new BadRecord('empty', `${name} is empty`);
  const text = readText(value, name, remarks);
  // Not trim(): it would copy a long text to answer yes or no.
  if (!/\S/.test(text)) throw new BadRecord('empty', `${name} is empty`);
  return text;
}

/**
 * A text for comparing: Unicode NFC, case folded, white space runs as one space, none at the ends. Through upper
 * case, as lower case alone keeps ß and ς apart from ss and σ, and through lower case before, which turns the capital ẞ into ß;
 * composed again last, as changing case may take characters apart.
 */
export function normaliseText(text: string): string {
  return text.normalize('NFC').toLowerCase().toUpperCase().toLowerCase().normalize('NFC').replace(/\s+/g, ' ').trim();
}

/**
 * What the user says in an example, all turns, a line break between them. Two examples with equal user text are the same question:
 * of a conversation the first turn alone ("Hi") would not tell. System messages do not count: the same question under another
 * system message still gives a held-out answer away.
 */
export function userText({ messages }: Pick<Example, 'messages'>): string {
  return messages
    .filter(({ role }) => role === 'user')
    .map(({ content }) => content)
    .join('\n');
}
