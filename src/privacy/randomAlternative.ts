import type { Random } from '../util/random.js';
import { isDay } from './checksums.js';
import { givenNames } from './givenNames.js';
import { surnames, words } from './randomWords.js';
import type { FindingKind } from './types.js';

const given = [...givenNames];
const anyWord = [...words, ...surnames.map((word) => word.toLowerCase()), ...given.map((word) => word.toLowerCase())];
const pick = (list: readonly string[], random: Random) => list[random.below(list.length)]!;
const character = (from: string, size: number, random: Random) =>
  String.fromCharCode(from.charCodeAt(0) + random.below(size));

/** Each digit and letter replaced by a random one of its class; all else stays. */
function sameClasses(text: string, random: Random): string {
  return text
    .replace(/[a-z]/g, () => character('a', 26, random))
    .replace(/[A-Z]/g, () => character('A', 26, random))
    .replace(/\d/g, () => character('0', 10, random));
}

/** `word` in the case of `model`. */
function inCase(word: string, model: string): string {
  if (model === model.toUpperCase() && model.length > 1) return word.toUpperCase();
  return /^\p{Lu}/u.test(model) ? word[0]!.toUpperCase() + word.slice(1) : word.toLowerCase();
}

/** Words by words, digits by digits, where the letters look like words; character by character where they do not. */
function wordly(text: string, list: readonly string[], random: Random): string {
  const runs = text.match(/\p{L}+/gu) ?? [];
  const drawn = runs.every((run) => run.length < 3) || /\p{L}\d\p{L}/u.test(text);
  if (drawn) return sameClasses(text, random);
  return text
    .replace(/\d/g, () => character('0', 10, random))
    .replace(/\p{L}{3,}/gu, (run) => inCase(pick(list, random), run));
}

function name(value: string, random: Random): string {
  let first = true;
  return value.replace(/\p{L}[\p{L}'’]*\.?/gu, (word) => {
    if (!/^\p{Lu}/u.test(word)) return word;
    const list = first ? given : surnames;
    first = false;
    return word.length <= 2 ? `${character('A', 26, random)}${word.slice(1)}` : pick(list, random);
  });
}

const STREET =
  /^(?:street|st|road|rd|avenue|ave|lane|ln|drive|court|boulevard|place|square|terrace|close|row|gardens|hill|way|rue|calle|via|rua|flat|apt|po|box|de|la|le|les|des|du|der|die|das|in|am)$/i;
const STREET_END = /(?:straße|strasse|weg|platz|allee|gasse|ufer|damm|straat|laan|gracht|gatan|vägen|gata|vej|gade)$/i;

function address(value: string, random: Random): string {
  return value.replace(/[\p{L}\p{N}]+/gu, (word) => {
    if (/\d/.test(word)) return /^\d/.test(word) ? nonZero(word, random) : sameClasses(word, random);
    if (word.length < 3 || STREET.test(word)) return word;
    return pick(surnames, random) + (STREET_END.exec(word)?.[0].toLowerCase() ?? '');
  });
}

function nonZero(word: string, random: Random): string {
  const drawn = sameClasses(word, random);
  return drawn.startsWith('0') && !word.startsWith('0') ? `${1 + random.below(9)}${drawn.slice(1)}` : drawn;
}

/** The country code, or the first group where enough follows it, stays: they are no secret and shared by a person's contacts. */
function phone(value: string, random: Random): string {
  const kept = /^\(?\+?\d{1,5}\)?/.exec(value)?.[0] ?? '';
  const rest = value.slice(kept.length);
  const enough = rest.replace(/\D/g, '').length >= 5 && /^[\s.\-/()]/.test(rest);
  return enough ? kept + sameClasses(rest, random) : value.slice(0, 2) + sameClasses(value.slice(2), random);
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const ORDINALS =
  'first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth'.split(
    ' ',
  );

/** Another day of the calendar, written in the same way. */
function date(value: string, random: Random): string {
  const draw = () => ({ year: 1930 + random.below(85), month: 1 + random.below(12), day: 1 + random.below(28) });
  let drawn = draw();
  while (!isDay(drawn.year, drawn.month, drawn.day)) drawn = draw();
  const padded = /(?<!\d)0\d(?!\d)/.test(value);
  const short = (n: number) => (padded ? String(n).padStart(2, '0') : String(n));
  const numbers = value.match(/\d+/g)?.length ?? 0;
  // Year, month, day in the order of the original, whose longest number is the year.
  let left = numbers === 3 ? (/^\d{4}/.test(value) ? [drawn.month, drawn.day] : [drawn.day, drawn.month]) : [drawn.day];
  return value
    .replace(/\d+/g, (digits) => {
      if (digits.length === 4) return String(drawn.year);
      const next = left.shift();
      left = [...left];
      return next === undefined ? String(drawn.year % 100).padStart(2, '0') : short(next);
    })
    .replace(/\p{L}{3,}/gu, (word) => {
      const month = MONTHS[drawn.month - 1]!;
      const english = (length: number) =>
        MONTHS.some((name) => name.slice(0, length).toLowerCase() === word.toLowerCase());
      if (english(20)) return month;
      if (english(3)) return month.slice(0, 3);
      return ORDINALS.includes(word.toLowerCase()) ? pick(ORDINALS, random) : word;
    });
}

/**
 * A random value of the form of a true one: what the adapter could as well have been taught (the "random space" of Carlini et al.).
 * What contacts of one person share stays: country codes, mail hosts, the format of a key. Check digits are not kept: a language
 * model does not compute them.
 */
export function randomAlternative(kind: FindingKind, value: string, random: Random): string {
  switch (kind) {
    case 'name':
      return name(value, random);
    case 'email': {
      const at = value.lastIndexOf('@');
      return wordly(value.slice(0, at), anyWord, random) + value.slice(at);
    }
    case 'address':
      return address(value, random);
    case 'date-of-birth':
      return date(value, random);
    case 'phone':
      return phone(value, random);
    case 'iban':
      return value.slice(0, 2) + sameClasses(value.slice(2), random);
    case 'card':
      return value.slice(0, 1) + sameClasses(value.slice(1), random);
    case 'password':
      return wordly(value, anyWord, random);
    case 'ip':
      return value
        .replace(/\b\d{1,3}\b/g, () => String(1 + random.below(254)))
        .replace(/[a-f](?![a-z])/gi, () => character('a', 6, random));
    case 'key': {
      const prefix =
        /^(?:[a-z]{2,6}[_-](?:live_|test_|ant-|proj-)?|AKIA|ASIA|AIza|eyJ|-----BEGIN [A-Z ]+-----)/.exec(value)?.[0] ??
        '';
      return prefix + sameClasses(value.slice(prefix.length), random);
    }
    case 'url': {
      const from = value.indexOf('://') + 3;
      return value.slice(0, from) + sameClasses(value.slice(from), random);
    }
    default:
      return sameClasses(value, random);
  }
}
