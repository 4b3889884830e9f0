import type { Span } from '../finding.js';
import { digitsIn, isDay, luhn, mod11_10, mod97, type NumberRun, verhoeff, weightedRest } from './numbers.js';

/** National identity, tax and social security numbers. */

interface Format {
  label: string;
  /** Of the whole number as written. */
  shape: RegExp;
  /** Of its characters without separators, in upper case. */
  check: (compact: string) => boolean;
  /** A word that stands before it, where shape and check digit are those of many other numbers too. */
  near?: RegExp;
}

const n = (text: string, from: number, to: number) => Number(text.slice(from, to));
/** Year, month and day in two digits each. */
const isDate = (digits: string) => isDay(n(digits, 0, 2), n(digits, 2, 4), n(digits, 4, 6));
/** The weights of all digits, the check digit's among them, sum up to a multiple of the modulus. */
const sumsUp = (digits: string, weights: readonly number[], modulus: number) =>
  weightedRest(digits, weights, modulus) === 0;

/** The German tax number (Steuer-ID): one digit stands two or three times among the first ten, no other repeats (BZSt). */
function germanTax(digits: string): boolean {
  const counts = Array.from({ length: 10 }, (_, d) => [...digits.slice(0, 10)].filter((x) => Number(x) === d).length);
  const repeated = counts.filter((count) => count > 1);
  return digits[0] !== '0' && repeated.length === 1 && repeated[0]! <= 3 && mod11_10(digits);
}

/** The French NIR: sex, year, month, then the key 97 - n mod 97; Corsica's 2A and 2B count as 19 and 18. */
function french(text: string): boolean {
  const month = n(text, 3, 5);
  const plain = text.slice(0, 13).replace('2A', '19').replace('2B', '18');
  return ((month >= 1 && month <= 12) || month >= 20) && 97 - mod97(plain) === n(text, 13, 15);
}

function belgian(digits: string): boolean {
  const month = n(digits, 2, 4) % 20;
  if (month > 12 || n(digits, 4, 6) > 31) return false;
  return [digits.slice(0, 9), `2${digits.slice(0, 9)}`].some((body) => 97 - mod97(body) === n(digits, 9, 11));
}

function norwegian(digits: string): boolean {
  const [day, month] = [n(digits, 0, 2) % 40, n(digits, 2, 4)];
  if (day < 1 || day > 31 || month < 1 || month > 12) return false;
  return sumsUp(digits, [3, 7, 6, 1, 8, 9, 4, 5, 2, 1], 11) && sumsUp(digits, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1], 11);
}

function polish(digits: string): boolean {
  const month = n(digits, 2, 4) % 20;
  return isDay(n(digits, 0, 2), month, n(digits, 4, 6)) && sumsUp(digits, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1], 10);
}

function brazilian(digits: string): boolean {
  const check = (length: number) => {
    const weights = Array.from({ length }, (_, i) => length + 1 - i);
    return ((weightedRest(digits, weights, 11) * 10) % 11) % 10 === Number(digits[length]);
  };
  return !/^(\d)\1+$/.test(digits) && check(9) && check(10);
}

function turkish(digits: string): boolean {
  const at = (i: number) => Number(digits[i]);
  const odd = at(0) + at(2) + at(4) + at(6) + at(8);
  const even = at(1) + at(3) + at(5) + at(7);
  const sum = odd + even + at(9);
  return digits[0] !== '0' && (((odd * 7 - even) % 10) + 10) % 10 === at(9) && sum % 10 === at(10);
}

const CHINESE = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

/** Numbers of digits alone. The shape asks for the usual separators where the check digit alone would let too much pass. */
const NUMBERS: readonly Format[] = [
  {
    label: 'US social security number',
    shape: /^(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}$/,
    // 078-05-1120 was printed on a specimen card and is nobody's.
    check: (d) => d !== '078051120',
  },
  { label: 'German tax number', shape: /^\d{2} ?\d{3} ?\d{3} ?\d{3}$/, check: germanTax },
  { label: 'French social security number', shape: /^[12] ?\d{2} ?\d{2} ?\d{2} ?\d{3} ?\d{3} ?\d{2}$/, check: french },
  {
    label: 'Swiss social security number',
    shape: /^756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}$/,
    check: (d) => sumsUp(d, [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1], 10),
  },
  { label: 'Belgian national number', shape: /^\d{2}[.]?\d{2}[.]?\d{2}[- ]?\d{3}[. ]?\d{2}$/, check: belgian },
  { label: 'Norwegian national number', shape: /^\d{6} ?\d{5}$/, check: norwegian },
  {
    label: 'Swedish personal number',
    shape: /^(?:19|20)?\d{6}-\d{4}$/,
    check: (d) => isDay(n(d.slice(-10), 0, 2), n(d.slice(-10), 2, 4), n(d.slice(-10), 4, 6) % 60) && luhn(d.slice(-10)),
  },
  { label: 'Polish PESEL', shape: /^\d{11}$/, check: polish },
  { label: 'Brazilian CPF', shape: /^\d{3}\.\d{3}\.\d{3}-\d{2}$/, check: brazilian },
  { label: 'Turkish identity number', shape: /^\d{11}$/, check: turkish },
  {
    label: 'Russian SNILS',
    shape: /^\d{3}-\d{3}-\d{3}[ -]\d{2}$/,
    check: (d) => weightedRest(d, [9, 8, 7, 6, 5, 4, 3, 2, 1], 101) % 100 === n(d, 9, 11),
  },
  { label: 'Aadhaar number', shape: /^[2-9]\d{3} \d{4} \d{4}$/, check: verhoeff },
  {
    label: 'NHS number',
    shape: /^\d{3} \d{3} \d{4}$/,
    near: /nhs|patient/i,
    check: (d) => !/^(\d)\1+$/.test(d) && sumsUp(d, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 11),
  },
  {
    label: 'Canadian social insurance number',
    shape: /^(?!0{3})\d{3}[ -]\d{3}[ -]\d{3}$/,
    check: luhn,
    near: /\bsin\b|social insurance|assurance sociale/i,
  },
  {
    label: 'South African identity number',
    shape: /^\d{6} ?\d{4} ?[01]8\d$/,
    check: (d) => isDate(d) && luhn(d),
  },
  {
    label: 'Korean resident number',
    shape: /^\d{6}-[1-4]\d{6}$/,
    check: (d) => isDate(d) && (11 - weightedRest(d, [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5], 11)) % 10 === Number(d[12]),
  },
  {
    label: 'Chinese resident number',
    shape: /^[1-8]\d{5}(?:19|20)\d{2}\d{7}[\dX]$/,
    check: (d) =>
      isDay(n(d, 6, 10), n(d, 10, 12), n(d, 12, 14)) && '10X98765432'[weightedRest(d, CHINESE, 11)] === d[17],
  },
];

const NIF = 'TRWAGMYFPDXBNJZSQVHLCKE';
const FINNISH = '0123456789ABCDEFHJKLMNPRSTUVWXY';
/** Values of the characters of an Italian fiscal code in odd places (decree of 23 December 1976), of 0 to 9 and A to Z. */
const ODD = [
  1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22,
  25, 24, 23,
];

function italian(text: string): boolean {
  let sum = 0;
  for (let i = 0; i < 15; i++) {
    const value = Number.parseInt(text[i]!, 36);
    sum += i % 2 === 0 ? ODD[value]! : value > 9 ? value - 10 : value;
  }
  return String.fromCharCode(65 + (sum % 26)) === text[15];
}

function mexican(text: string): boolean {
  const values = '0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ';
  let sum = 0;
  for (let i = 0; i < 17; i++) sum += values.indexOf(text[i]!) * (18 - i);
  return (10 - (sum % 10)) % 10 === Number(text[17]);
}

/** Numbers with letters in them; searched in the text itself. */
const MIXED: readonly (Format & { shape: RegExp })[] = [
  {
    label: 'UK national insurance number',
    shape:
      /(?<![A-Z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![A-Z0-9])/g,
    check: () => true,
  },
  {
    label: 'Spanish DNI or NIE',
    shape: /(?<![A-Za-z0-9])(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-HJ-NP-TV-Z](?![A-Za-z0-9])/g,
    check: (t) => NIF[Number(t.slice(0, 8).replace(/^[XYZ]/, (c) => String('XYZ'.indexOf(c)))) % 23] === t[8],
  },
  {
    label: 'Italian fiscal code',
    shape: /(?<![A-Z0-9])[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z](?![A-Z0-9])/gi,
    check: italian,
  },
  {
    label: 'French social security number',
    shape: /(?<![A-Za-z0-9])[12] ?\d{2} ?\d{2} ?2[AB] ?\d{3} ?\d{3} ?\d{2}(?![A-Za-z0-9])/g,
    check: french,
  },
  {
    label: 'Finnish personal code',
    shape: /(?<![A-Za-z0-9])[0-3]\d[01]\d{3}[-+A-FYXWVU]\d{3}[0-9A-FHJ-NPR-Y](?![A-Za-z0-9])/g,
    check: (t) => FINNISH[Number(t.replace(/[^0-9]/g, '').slice(0, 6) + t.slice(-4, -1)) % 31] === t.at(-1),
  },
  {
    label: 'Chinese resident number',
    shape: /(?<![A-Za-z0-9])[1-8]\d{5}(?:19|20)\d{9}[Xx](?![A-Za-z0-9])/g,
    check: (t) => isDay(n(t, 6, 10), n(t, 10, 12), n(t, 12, 14)) && weightedRest(t, CHINESE, 11) === 2,
  },
  {
    label: 'Mexican CURP',
    shape: /(?<![A-Z0-9])[A-Z][AEIOUX][A-Z]{2}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d(?![A-Z0-9])/g,
    check: (t) => isDay(n(t, 4, 6), n(t, 6, 8), n(t, 8, 10)) && mexican(t),
  },
];

const compact = (text: string) => text.replace(/[^A-Za-z0-9+]/g, '').toUpperCase();

/** National identity, tax and social security numbers whose format or check digits leave little room for chance. */
export function findIdNumbers(text: string, runs: readonly NumberRun[]): Span[] {
  const spans: Span[] = [];
  for (const run of runs) {
    const { groups } = run;
    if (/[+]/.test(text.slice(run.start, run.start + 2))) continue;
    const before = text.slice(Math.max(0, run.start - 40), run.start);
    for (let first = 0; first < groups.length; first++) {
      const { start } = groups[first]!;
      if (first === 0 && run.gluedLeft) continue;
      for (let last = Math.min(groups.length - 1, first + 6); last >= first; last--) {
        const { end } = groups[last]!;
        const length = end - start;
        if (
          length < 9 ||
          length > 22 ||
          digitsIn(groups, first, last) < 9 ||
          (last === groups.length - 1 && run.gluedRight)
        )
          continue;
        const written = text.slice(start, end);
        // Groups of a longer number may make a right one by chance.
        if (written.includes(' ') && (first > 0 || last < groups.length - 1)) continue;
        const format = NUMBERS.find(
          ({ shape, check, near }) => shape.test(written) && check(compact(written)) && (near?.test(before) ?? true),
        );
        if (format === undefined) continue;
        spans.push({ kind: 'id-number', label: format.label, certainty: 'certain', start, end });
        first = last;
        break;
      }
    }
  }
  for (const { label, shape, check } of MIXED) {
    for (const match of text.matchAll(shape)) {
      const written = match[0];
      const plain = label === 'Finnish personal code' ? written.toUpperCase() : compact(written);
      if (!check(plain)) continue;
      const start = match.index;
      spans.push({ kind: 'id-number', label, certainty: 'certain', start, end: start + written.length });
    }
  }
  return spans;
}
