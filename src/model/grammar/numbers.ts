import { UnsupportedError } from '../../base/errors.js';
import type { Rules } from './rules.js';

/** Numbers within bounds, as rules over their digits. */

/** A bound; `open` if it is not within. */
export interface Bound {
  value: number;
  open: boolean;
}

/** Digits that every double tells apart. */
const EXACT_DIGITS = 15;
const LARGEST = 10n ** BigInt(EXACT_DIGITS) - 1n;
/** Digits after the point that may be written beyond those of the bounds. */
const MORE_DIGITS = 6;
const MOST_DECIMALS = 9;

const largest = (a: bigint, b: bigint) => (a > b ? a : b);
const smallest = (a: bigint, b: bigint) => (a < b ? a : b);

/** @throws UnsupportedError if there is none, or none that is exact */
export function integerRule(rules: Rules, least: Bound | undefined, most: Bound | undefined, where: string): string {
  if (beyond(least, most)) throw none(where);
  const up = least && BigInt(clamp(Math.ceil(least.value))) + (least.open && Number.isInteger(least.value) ? 1n : 0n);
  const down = most && BigInt(clamp(Math.floor(most.value))) - (most.open && Number.isInteger(most.value) ? 1n : 0n);
  const [from, to] = [largest(up ?? -LARGEST, -LARGEST), smallest(down ?? LARGEST, LARGEST)];
  if (from > to) throw none(where);
  const parts: string[] = [];
  if (from < 0n) parts.push(`"-" (${digits(largest(1n, -to), -from).join(' | ')})`);
  if (to >= 0n) parts.push(...digits(largest(0n, from), to));
  return rules.add(parts.join(' | '));
}

/** Without an exponent. @throws UnsupportedError as above */
export function numberRule(rules: Rules, least: Bound | undefined, most: Bound | undefined, where: string): string {
  if (beyond(least, most)) throw none(where);
  const decimals = Math.max(decimalsOf(least, where), decimalsOf(most, where));
  const parts: string[] = [];
  const below = least === undefined || least.value < 0;
  // Of numbers below zero, the one with the larger magnitude is the smaller.
  if (below) {
    const to = most && most.value < 0 ? { value: -most.value, open: most.open } : { value: 0, open: true };
    const from = least && { value: -least.value, open: least.open };
    parts.push(...magnitudes(to, from, decimals).map((one) => `"-" ${one}`));
  }
  if (most === undefined || most.value >= 0) {
    const from = least && least.value >= 0 ? least : { value: 0, open: false };
    parts.push(...magnitudes(from, most, decimals));
  }
  if (parts.length === 0) throw none(where);
  return rules.add(parts.join(' | '));
}

const none = (where: string) => new UnsupportedError({ found: 'bounds that no number of 15 digits fits', where });
const beyond = (least: Bound | undefined, most: Bound | undefined) =>
  (least !== undefined && least.value > Number(LARGEST)) || (most !== undefined && most.value < -Number(LARGEST));
const clamp = (value: number) => Math.min(Number(LARGEST), Math.max(-Number(LARGEST), value));

function decimalsOf(bound: Bound | undefined, where: string): number {
  if (!bound) return 0;
  for (let n = 0; n <= MOST_DECIMALS; n++) if (Number(bound.value.toFixed(n)) === bound.value) return n;
  throw new UnsupportedError({ found: `a bound with more than ${MOST_DECIMALS} digits after the point`, where });
}

/** Numbers from 0 on, with at least so many digits after the point. */
function magnitudes(from: Bound, to: Bound | undefined, decimals: number): string[] {
  const scaled = ({ value }: Bound) => BigInt(Math.min(value, Number(LARGEST)).toFixed(decimals).replace('.', ''));
  const low = scaled(from);
  const high = to === undefined ? LARGEST : smallest(scaled(to), LARGEST);
  const exact = to === undefined || scaled(to) > LARGEST;
  const more = Math.max(0, Math.min(MORE_DIGITS, EXACT_DIGITS - String(high).length));
  // What may be written after the digits that count: anything, nothing but zeros, or something beside zeros.
  const point = decimals === 0;
  const any = more === 0 ? '' : point ? `("." [0-9]{1,${more}})?` : `[0-9]{0,${more}}`;
  const zeros = more === 0 ? '' : point ? '(".0")?' : '"0"?';
  const some = more === 0 ? undefined : `${point ? '"." ' : ''}[0-9]{0,${more - 1}} [1-9]`;
  const within = (a: bigint, b: bigint, tail: string) =>
    a > b ? [] : digits(a, b, decimals).map((one) => `${one} ${tail}`.trim());
  const parts: string[] = [];
  if (low > high || (low === high && (from.open || (to?.open && !exact)))) return parts;
  if (from.open) {
    if (some && low < high) parts.push(...within(low, low, some));
    parts.push(...within(low + 1n, high - 1n, any));
  } else parts.push(...within(low, high - 1n, any));
  if (!to?.open && (low < high || !from.open)) parts.push(...within(high, high, zeros));
  return parts;
}

/** Rules for the digits of whole numbers from a to b, both at least 0; a point stands before the last `decimals`. */
function digits(a: bigint, b: bigint, decimals = 0): string[] {
  const parts: string[] = [];
  for (let length = decimals + 1; length <= String(b).length || length === decimals + 1; length++) {
    const least = length === decimals + 1 ? 0n : 10n ** BigInt(length - 1);
    const [from, to] = [largest(a, least), smallest(b, 10n ** BigInt(length) - 1n)];
    if (from > to) continue;
    const padded = (value: bigint) => String(value).padStart(length, '0');
    parts.push(...between(padded(from), padded(to), decimals));
  }
  return parts;
}

/** Texts of digits of one length, in the order of numbers. */
function between(from: string, to: string, decimals: number): string[] {
  const [a, b, rest] = [from[0], to[0], from.length - 1];
  if (a === undefined || b === undefined) return [''];
  const point = decimals > 0 && from.length === decimals ? '"." ' : '';
  const lead = (first: string, tails: string[]) => tails.map((tail) => `${point}${first} ${tail}`.trim());
  if (a === b) return lead(`"${a}"`, between(from.slice(1), to.slice(1), decimals));
  const parts: string[] = [];
  const [zeros, nines] = ['0'.repeat(rest), '9'.repeat(rest)];
  let [low, high] = [Number(a), Number(b)];
  if (from.slice(1) !== zeros) parts.push(...lead(`"${low++}"`, between(from.slice(1), nines, decimals)));
  const top = to.slice(1) === nines ? [] : lead(`"${high--}"`, between(zeros, to.slice(1), decimals));
  if (low <= high) parts.push(...lead(low === high ? `"${low}"` : `[${low}-${high}]`, [anyDigits(rest, decimals)]));
  return [...parts, ...top];
}

function anyDigits(length: number, decimals: number): string {
  const some = (n: number) => (n > 0 ? `[0-9]{${n}}` : '');
  return decimals > 0 && length >= decimals ? `${some(length - decimals)} "." ${some(decimals)}`.trim() : some(length);
}
