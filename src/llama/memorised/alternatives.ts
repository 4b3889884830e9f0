import type { Random } from '../../base/random.js';
import { type Example, isTrained } from '../../examples/example.js';
import { partsOf } from '../../examples/parts.js';
import { givenNames } from '../../examples/personal/find/name.js';
import { isDay } from '../../examples/personal/find/numbers.js';
import { type Finding, type FindingKind, maskValue } from '../../examples/personal/finding.js';
import { Pace } from '../../examples/source.js';

/** Words for random alternatives: surnames (US Census 2010, the frequent ones), and short common words as passwords hold them. */
const surnames: readonly string[] = (
  'Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson Anderson Thomas Taylor Moore ' +
  'Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Walker Young Allen King Wright Scott Torres Nguyen ' +
  'Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter Roberts Gomez Phillips Evans Turner Diaz Parker Cruz Edwards ' +
  'Collins Reyes Stewart Morris Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos Kim Cox ' +
  'Ward Richardson Watson Brooks Chavez Wood James Bennett Gray Mendoza Ruiz Hughes Price Alvarez Castillo Sanders Patel Myers Long Ross ' +
  'Foster Jimenez Powell Jenkins Perry Russell Sullivan Bell Coleman Butler Henderson Barnes Fisher Vasquez Simmons Graham Okafor Schmidt ' +
  'Novak Lindgren Rossi Tanaka Kowalski Haddad Mensah Larsen Petrov Fontaine Silva Weber'
).split(' ');

export const words: readonly string[] = (
  'apple river stone candle winter garden silver tiger window bridge carrot marble button forest pepper rocket saddle thunder velvet walnut ' +
  'anchor basket copper dragon engine falcon ginger hammer island jacket kettle lemon meadow needle orange pencil quartz ribbon shadow ' +
  'turtle umbrella violet whistle yellow zebra blanket cherry diamond ember feather glacier harvest indigo juniper kitten lantern mango ' +
  'nectar ocean parrot quiver raven summer tulip urban valley willow autumn barrel cactus dolphin eagle flower guitar honey ivory jungle'
).split(' ');

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

/** Words of the shortest passage that is no coincidence when it comes out again. */
const LEAST_WORDS = 8;
/** Longest passage that is asked for: what follows its beginning shows it already. */
const MOST_WORDS = 24;
/** Words that a passage must have before it in its answer or question to be asked for. */
const GRAM = 3;

const wordsOf = (text: string) => [...text.matchAll(/\S+/g)];
const keyOf = (words: readonly string[]) => words.join(' ').toLowerCase();

/**
 * Long passages of the trained answers that stand nowhere else: runs of words whose every three-word sequence occurs in one example
 * only. The longest first, at most one of each content and thought. For asking whether an adapter recites them.
 */
export async function rarePhrases(
  examples: readonly Example[],
  count: number,
  options: { signal?: AbortSignal } = {},
): Promise<Finding[]> {
  const pace = new Pace(options.signal);
  // The example of each three-word sequence; -1 once it stands in several.
  const owners = new Map<string, number>();
  for (const [index, { messages }] of examples.entries()) {
    for (const { text } of messages.flatMap((message) => [...partsOf(message)])) {
      const words = wordsOf(text).map((match) => match[0]);
      for (let i = 0; i + GRAM <= words.length; i++) {
        const key = keyOf(words.slice(i, i + GRAM));
        const owner = owners.get(key);
        if (owner !== index) owners.set(key, owner === undefined ? index : -1);
      }
    }
    if (pace.due) await pace.rest();
  }
  const found: { words: number; finding: Omit<Finding, 'number'> }[] = [];
  for (const [index, example] of examples.entries()) {
    const { line, index: record } = example.source;
    for (const [m, message] of example.messages.entries()) {
      if (!isTrained(message)) continue;
      for (const { part, text } of partsOf(message)) {
        const words = wordsOf(text);
        let best = { from: 0, to: 0 };
        for (let i = 0, from = 0; i + GRAM <= words.length; i++) {
          if (owners.get(keyOf(words.slice(i, i + GRAM).map((match) => match[0]))) !== index) from = i + 1;
          else if (i + GRAM - from > best.to - best.from) best = { from, to: i + GRAM };
        }
        const length = Math.min(MOST_WORDS, best.to - best.from);
        if (length < LEAST_WORDS) continue;
        const start = words[best.from]!.index;
        const last = words[best.from + length - 1]!;
        const end = last.index + last[0].length;
        const id = `${record}.${m}${part === undefined ? '' : `.${part}`}.${start}-${end}.phrase`;
        const preview = maskValue('phrase', text.slice(start, end));
        const span = { kind: 'phrase', label: 'passage', certainty: 'likely', start, end } as const;
        const where = {
          message: m,
          ...(part !== undefined && { part }),
          role: message.role,
          trained: true,
          line,
          record,
        };
        const place = { id, example: index, ...where, preview };
        found.push({ words: best.to - best.from, finding: { ...span, ...place } });
      }
    }
    if (pace.due) await pace.rest();
  }
  found.sort((a, b) => b.words - a.words);
  return found.slice(0, count).map(({ finding }, i) => ({ ...finding, number: i + 1 }));
}
