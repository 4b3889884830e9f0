import type { Rules } from './rules.js';

/** Formats of texts that are kept to; others of JSON Schema are remarks for people. */

const DAY_28 = '("0" [1-9] | "1" [0-9] | "2" [0-8])';
const LEAP = '([0-9] [0-9] ("0" [48] | [2468] [048] | [13579] [26]) | ("0" [48] | [2468] [048] | [13579] [26]) "00")';
/** RFC 3339; February has its 29th in leap years alone, and no second is a leap one. */
const DATE = [
  `[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ${DAY_28}`,
  '[0-9]{4} "-" ("0" [13-9] | "1" [0-2]) "-" ("29" | "30")',
  '[0-9]{4} "-" ("0" [13578] | "10" | "12") "-31"',
  `${LEAP} "-02-29"`,
].join(' | ');
const HOURS = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]';
const TIME = `${HOURS} ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [\\x2B\\x2D] ${HOURS})`;
/** A plain mailbox, and not all that RFC 5321 allows for. */
const LABEL = '[a-z0-9] ([a-z0-9] | "-" [a-z0-9]){0,20}';
const EMAIL = `[A-Za-z0-9] ([A-Za-z0-9_] | [.\\x2B\\x2D] [A-Za-z0-9]){0,31} "@" (${LABEL} "."){1,3} [a-z]{2,8}`;
const BYTE = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9])';
const HEX = '[0-9a-f]';
const UUID = `${HEX}{8} "-" ${HEX}{4} "-" ${HEX}{4} "-" ${HEX}{4} "-" ${HEX}{12}`;

interface Format {
  rule(rules: Rules): string;
  /** Characters that it has. */
  lengths: readonly [least: number, most: number];
}

export const formats: ReadonlyMap<string, Format> = new Map<string, Format>([
  ['date', { rule: (rules) => rules.add(DATE), lengths: [10, 10] }],
  ['time', { rule: (rules) => rules.add(TIME), lengths: [9, 21] }],
  ['date-time', { rule: (rules) => `${rules.add(DATE)} "T" ${rules.add(TIME)}`, lengths: [20, 32] }],
  ['email', { rule: (rules) => rules.add(EMAIL), lengths: [6, 160] }],
  ['ipv4', { rule: (rules) => rules.add([BYTE, BYTE, BYTE, BYTE].join(' "." ')), lengths: [7, 15] }],
  ['uuid', { rule: (rules) => rules.add(UUID), lengths: [36, 36] }],
]);
