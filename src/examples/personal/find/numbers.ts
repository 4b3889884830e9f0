import type { Span } from '../finding.js';

/** Check digits of identifiers. Each takes the characters without separators. */

const digitsOf = (text: string) => Array.from(text, Number);
const weighted = (digits: readonly number[], weights: readonly number[]) =>
  weights.reduce((sum, weight, i) => sum + weight * digits[i]!, 0);

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
  for (const digit of digitsOf(digits.slice(0, -1))) {
    const sum = (digit + product) % 10 || 10;
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

/** Whether the weighted sum of all digits is a multiple of `modulus`. */
export function weightedSum(digits: string, weights: readonly number[], modulus: number): boolean {
  return weighted(digitsOf(digits), weights) % modulus === 0;
}

/** Remainder of the weighted sum of the first digits. */
export function weightedRest(digits: string, weights: readonly number[], modulus: number): number {
  return weighted(digitsOf(digits), weights) % modulus;
}

/** Whether year (two digits or four), month and day are a day of the calendar. */
export function isDay(year: number, month: number, day: number): boolean {
  const date = new Date(Date.UTC(2000 + (year % 400), month - 1, day));
  return month >= 1 && month <= 12 && day >= 1 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

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

/** First digits and lengths of the networks (ISO/IEC 7812; their published ranges). */
const NETWORKS: readonly { label: string; begins: RegExp; lengths: readonly number[] }[] = [
  { label: 'Visa card', begins: /^4/, lengths: [13, 16, 19] },
  { label: 'Mastercard', begins: /^(?:5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720))/, lengths: [16] },
  { label: 'American Express card', begins: /^3[47]/, lengths: [15] },
  { label: 'Diners Club card', begins: /^3(?:0[0-5]|[689])/, lengths: [14] },
  { label: 'Discover card', begins: /^6(?:011|4[4-9]|5)/, lengths: [16] },
  { label: 'JCB card', begins: /^35(?:2[89]|[3-8])/, lengths: [16] },
  { label: 'UnionPay card', begins: /^62/, lengths: [16, 17, 18, 19] },
  { label: 'Maestro card', begins: /^(?:50|5[6-9]|6[0-9])/, lengths: [16, 18, 19] },
];
const maxCardGroups = 5;
/** Lengths of the groups in which cards are printed. */
const SHAPES = new Set(['4 4 4 4', '4 6 5', '4 6 4', '4 4 4 4 3', '4 4 4 1', '6 13', '4 4 4 4 2']);

/** Numbers of payment cards: network, length, grouping and check digit are right. */
export function findCards(text: string, runs: readonly NumberRun[]): Span[] {
  const spans: Span[] = [];
  for (const run of runs) {
    const { groups } = run;
    for (let first = 0; first < groups.length; first++) {
      if (first === 0 && run.gluedLeft) continue;
      for (let last = first; last < Math.min(groups.length, first + maxCardGroups); last++) {
        const count = digitsIn(groups, first, last);
        if (count > 19) break;
        if (count < 13) continue;
        const digits = text.slice(groups[first]!.start, groups[last]!.end).replace(/\D/g, '');
        if (last === groups.length - 1 && run.gluedRight) continue;
        if (last > first) {
          const separator = text.slice(groups[first]!.end, groups[first + 1]!.start);
          const even = groups
            .slice(first, last)
            .every((group, i) => text.slice(group.end, groups[first + i + 1]!.start) === separator);
          const shape = groups.slice(first, last + 1).map(({ start, end }) => end - start);
          if (!even || !/^[ .-]$/.test(separator) || !SHAPES.has(shape.join(' '))) continue;
        }
        const network = NETWORKS.find(({ begins, lengths }) => lengths.includes(digits.length) && begins.test(digits));
        if (network === undefined || !luhn(digits) || /^(\d)\1+$/.test(digits)) continue;
        const { start } = groups[first]!;
        const { end } = groups[last]!;
        spans.push({ kind: 'card', label: network.label, certainty: 'certain', start, end });
        first = last;
        break;
      }
    }
  }
  return spans;
}

/** Length of an IBAN by country (SWIFT IBAN registry, release 97). */
const LENGTHS: Record<string, number> = Object.fromEntries(
  (
    'NO15 BE16 DK18 FI18 FO18 FK18 GL18 NL18 SD18 SI19 MK19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CR22 CH21 HR21 LI21 LV21 BG22 BH22 ' +
    'DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 TL23 SO23 AD24 CZ24 ES24 MD24 PK24 RO24 SA24 SE24 SK24 TN24 VG24 ' +
    'PT25 ST25 LY25 IS26 TR26 BI27 DJ27 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28 CY28 DO28 GT28 HU28 LB28 NI28 PL28 SV28 BR29 ' +
    'EG29 PS29 QA29 UA29 JO30 KW30 MU30 YE30 MT31 SC31 LC32 RU33'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);

const BEGIN = /(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])/g;

/** International bank account numbers: length of their country and check digits (ISO 13616) are right. */
export function findIbans(text: string): Span[] {
  const spans: Span[] = [];
  for (const { index: start } of text.matchAll(BEGIN)) {
    const length = LENGTHS[text.slice(start, start + 2).toUpperCase()];
    if (length === undefined) continue;
    let compact = '';
    let end = start;
    while (compact.length < length && end < text.length) {
      const char = text[end]!;
      if (/[A-Za-z0-9]/.test(char)) compact += char;
      else if (!/[ -]/.test(char) || !/[A-Za-z0-9]/.test(text[end + 1] ?? '')) break;
      end++;
    }
    if (compact.length < length || /[A-Za-z0-9]/.test(text[end] ?? '')) continue;
    if (mod97(compact.slice(4) + compact.slice(0, 4)) !== 1) continue;
    spans.push({ kind: 'iban', label: 'IBAN', certainty: 'certain', start, end });
  }
  return spans;
}
