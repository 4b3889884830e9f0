/** Numbers in a text, as people write them, and the check digits and dates within them. */

/** Digits that stand together, with the separators that people write between them. */
export interface NumberRun {
  start: number;
  end: number;
  groups: { start: number; end: number }[];
  /** A letter, digit or underscore touches it on the left or right, so that it is part of a word. */
  gluedLeft: boolean;
  gluedRight: boolean;
}

/** Longer runs are tables or measurements, of which the first groups are enough. */
const MAX_GROUPS = 64;
const SEPARATORS = new Set([' ', '-', '.', '/', ') ', ')', '(', ' (', ')-', ' - ', ' / ', '/ ', '-(', ') - ', ').']);

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** Letters that make a number part of a word. Those of scripts that write no spaces (from Thai on, but Greek's extension) do not. */
function isWord(code: number): boolean {
  if (code >= 0xc0) return code < 0xe00 || (code >= 0x1e00 && code < 0x2000);
  return isDigit(code) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95;
}

/** All numbers of a flattened text, in order. A run that is glued to letters is kept: identifiers have letters. */
export function numberRuns(text: string): NumberRun[] {
  const runs: NumberRun[] = [];
  let at = 0;
  while (at < text.length) {
    if (!isDigit(text.charCodeAt(at))) {
      at++;
      continue;
    }
    const first = at;
    const groups: NumberRun['groups'] = [];
    for (;;) {
      const start = at;
      while (at < text.length && isDigit(text.charCodeAt(at))) at++;
      groups.push({ start, end: at });
      let next = at;
      while (next < text.length && next - at < 4 && !isDigit(text.charCodeAt(next))) next++;
      if (groups.length === MAX_GROUPS || next >= text.length || !isDigit(text.charCodeAt(next))) break;
      if (!SEPARATORS.has(text.slice(at, next))) break;
      at = next;
    }
    let start = first;
    if (text[start - 1] === '+') start--;
    if (text[start - 1] === '(') start--;
    const gluedLeft = isWord(text.charCodeAt(start - 1));
    runs.push({ start, end: at, groups, gluedLeft, gluedRight: isWord(text.charCodeAt(at)) });
  }
  return runs;
}

/** Digits of the groups from `first` to `last`. */
export function digitsIn(groups: NumberRun['groups'], first: number, last: number): number {
  let digits = 0;
  for (let i = first; i <= last; i++) digits += groups[i]!.end - groups[i]!.start;
  return digits;
}

/** Luhn (ISO/IEC 7812-1, annex B): payment cards and many national numbers. */
export function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits[digits.length - 1 - i]);
    sum += i % 2 === 0 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit;
  }
  return sum % 10 === 0;
}

/** Remainder by 97 of a number of any length; letters stand for 10 to 35 (ISO/IEC 7064, as IBAN uses it). */
export function mod97(text: string): number {
  let rest = 0;
  for (const char of text.toUpperCase()) {
    const value = Number.parseInt(char, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest;
}

/** ISO/IEC 7064 MOD 11,10: the German tax number. */
export function mod11_10(digits: string): boolean {
  let product = 10;
  for (const digit of digits.slice(0, -1)) {
    const sum = (Number(digit) + product) % 10 || 10;
    product = (2 * sum) % 11;
  }
  return (11 - product) % 10 === Number(digits.at(-1));
}

const D5 = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
  [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
  [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
  [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
  [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
  [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
  [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
  [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
  [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];
const TURN = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

/** Verhoeff (1969), in the dihedral group of order 10: Aadhaar. */
export function verhoeff(digits: string): boolean {
  let check = 0;
  for (let i = 0; i < digits.length; i++) {
    let digit = Number(digits[digits.length - 1 - i]);
    for (let turn = 0; turn < i % 8; turn++) digit = TURN[digit]!;
    check = D5[check]![digit]!;
  }
  return check === 0;
}

/** Remainder of the weighted sum of the first digits, as many as there are weights. */
export function weightedRest(digits: string, weights: readonly number[], modulus: number): number {
  return weights.reduce((sum, weight, i) => sum + weight * Number(digits[i]), 0) % modulus;
}

/** Whether year (two digits or four), month and day are a day of the calendar. */
export function isDay(year: number, month: number, day: number): boolean {
  const date = new Date(Date.UTC(2000 + (year % 400), month - 1, day));
  return month >= 1 && month <= 12 && day >= 1 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}
