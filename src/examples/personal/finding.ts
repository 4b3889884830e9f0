import { escapeRegExp } from '../../base/format.js';
import type { Example, Role } from '../example.js';
import { partsOf } from '../parts.js';

/** What the search for personal data finds. Plain JSON; no value that was found stands in any of it. */

/** In order of precedence: where two finds overlap, the one whose kind stands first is kept. */
export const findingKinds = [
  'key',
  'url',
  'email',
  'iban',
  'card',
  'password',
  'id-number',
  'account',
  'date-of-birth',
  'ip',
  'phone',
  'address',
  'name',
  'phrase',
] as const;

/** `account` and `id-number` stand for numbers that are no IBAN or card. `phrase`: a long rare passage, found only when asked for. */
export type FindingKind = (typeof findingKinds)[number];

/** `certain`: a check digit or a format that nothing else has. `likely`: a word beside it says so. `possible`: it looks like it. */
export type Certainty = 'certain' | 'likely' | 'possible';

/** A find within one text. Offsets count UTF-16 units, as JavaScript strings do. */
export interface Span {
  kind: FindingKind;
  /** For people: "IBAN", "GitHub token". */
  label: string;
  certainty: Certainty;
  start: number;
  end: number;
}

export interface Finding extends Span {
  /** Of record, message, place and kind: the same as long as the record is not edited. */
  id: string;
  /** Index in the list that was searched. */
  example: number;
  /** Index in `example.messages`; `start` and `end` count in its content, or in `part` of it. */
  message: number;
  /** As `MessagePart`. */
  part?: string;
  role: Role;
  /** Whether the message is learnt. */
  trained: boolean;
  /** As `ExampleSource`. */
  line: number;
  record: number;
  /** Equal for equal values of a kind, from 1: the placeholder is `[kind number]`. */
  number: number;
  /** The value with all but a few characters replaced by dots. */
  preview: string;
}

export interface FindingSummary {
  total: number;
  /** Only kinds that occur. */
  kinds: Partial<Record<FindingKind, { findings: number; values: number }>>;
}

/** Dots for a hidden stretch; always three, so that the length stays hidden too. */
const HIDDEN = '•••';

/** The beginning that names the format and hides nothing: "sk_live_", "ghp_", "AKIA". */
const PREFIX =
  /^(?:(?:sk|rk|pk)_(?:live|test)_|sk-(?:ant-|proj-)?|gh[a-z]_|github_pat_|glpat-|xox[a-z]-|hf_|npm_|pypi-|AKIA|ASIA|AIza|eyJ|-----BEGIN )/;

/** What may be shown of a value: enough for its owner to know which one is meant, too little for anyone else to use it. */
export function maskValue(kind: FindingKind, value: string): string {
  const characters = Array.from(value.replace(/\s+/g, ' '));
  const first = characters[0] ?? '';
  const last = (count: number) => characters.slice(-count).join('');
  switch (kind) {
    case 'email': {
      const host = value.slice(value.lastIndexOf('@') + 1);
      return `${first}${HIDDEN}@${Array.from(host)[0]}${HIDDEN}${host.slice(host.lastIndexOf('.'))}`;
    }
    case 'iban':
      return `${value.slice(0, 2)}${HIDDEN}${last(2)}`;
    case 'card':
    case 'phone':
      return characters.length < 8 ? HIDDEN : `${HIDDEN}${last(2)}`;
    case 'key':
      return `${PREFIX.exec(value)?.[0] ?? ''}${HIDDEN}`;
    case 'url':
      return `${/^[a-z+.-]*:\/\//i.exec(value)?.[0] ?? ''}${HIDDEN}`;
    case 'name':
    case 'address':
      return value
        .split(/\s+/)
        .slice(0, 6)
        .map((word) => (/^\p{L}/u.test(word) ? `${Array.from(word)[0]}${HIDDEN}` : HIDDEN))
        .join(' ');
    case 'phrase':
      return `${value.split(/\s+/).length} words: ${first}${HIDDEN}`;
    default:
      return HIDDEN;
  }
}

/** What stands in a text in place of a value: "[e-mail 1]" would be translated by no one, so it is the kind's own name. */
export function placeholder(kind: FindingKind, number: number): string {
  return `[${kind} ${number}]`;
}

const WRITTEN = new RegExp(String.raw`\[(${findingKinds.join('|')}) (\d{1,9})\]`, 'g');

/** Highest number of the placeholders of each kind that stand in the texts already. */
export function placeholderNumbers(examples: readonly Example[]): Map<FindingKind, number> {
  const highest = new Map<FindingKind, number>();
  for (const { messages } of examples) {
    for (const { text } of messages.flatMap((message) => [...partsOf(message)])) {
      for (const match of text.matchAll(WRITTEN)) {
        const kind = match[1] as FindingKind;
        highest.set(kind, Math.max(highest.get(kind) ?? 0, Number(match[2])));
      }
    }
  }
  return highest;
}

/** Where the ten digits begin that Unicode has beside ASCII's (general category Nd, within the first plane). */
const ZEROS = [
  0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20, 0x1040,
  0x17e0, 0x1810,
];

const PLAIN = new Map<number, string>();
for (const zero of ZEROS) for (let digit = 0; digit < 10; digit++) PLAIN.set(zero + digit, String(digit));
// Full-width forms of ASCII.
for (let code = 0xff01; code <= 0xff5e; code++) PLAIN.set(code, String.fromCharCode(code - 0xfee0));
for (let code = 0x2000; code <= 0x200a; code++) PLAIN.set(code, ' ');
for (const code of [0xa0, 0x202f, 0x205f, 0x3000]) PLAIN.set(code, ' ');
for (let code = 0x2010; code <= 0x2015; code++) PLAIN.set(code, '-');
for (const code of [0x2212, 0xfe58, 0xfe63]) PLAIN.set(code, '-');
for (const code of [0x2018, 0x2019, 0x2bc]) PLAIN.set(code, "'");
for (const code of [0x201c, 0x201d, 0x201e, 0xab, 0xbb]) PLAIN.set(code, '"');

/**
 * The text with digits of all scripts, wide letters, spaces, dashes and quotation marks as ASCII has them. One unit becomes one
 * unit, so that offsets stay those of the text.
 */
export function flatten(text: string): string {
  return text.replace(/[\u00a0-\uffff]/g, (unit) => PLAIN.get(unit.charCodeAt(0)) ?? unit);
}

/** Equal for two ways of writing the same value: separators of a number and the case of an address do not count. */
export function valueKey(kind: FindingKind, value: string): string {
  const flat = flatten(value);
  switch (kind) {
    case 'phone':
    case 'card':
      return flat.replace(/\D/g, '');
    case 'iban':
    case 'id-number':
    case 'account':
      return flat.replace(/[^\p{L}\p{N}]/gu, '').toUpperCase();
    case 'email':
    case 'address':
    case 'name':
    case 'date-of-birth':
      return flat.replace(/\s+/g, ' ').trim().toLowerCase();
    default:
      return flat;
  }
}

const NUMBERS: ReadonlySet<FindingKind> = new Set(['phone', 'card', 'iban', 'id-number', 'account']);
const EXACT: ReadonlySet<FindingKind> = new Set(['key', 'password', 'url']);

/**
 * Recognises a value in what a model wrote: word for word, but for white space, and for a number its separators; the case counts
 * for keys and passwords only. Not inside a longer word or number. Apply it to flattened text.
 */
export function valuePattern(kind: FindingKind, value: string): RegExp {
  const flat = flatten(value).trim();
  const body = NUMBERS.has(kind)
    ? [...flat.replace(/[^\p{L}\p{N}]/gu, '')].map(escapeRegExp).join(String.raw`[\s.\-\/()]{0,3}`)
    : flat.split(/\s+/).map(escapeRegExp).join(String.raw`\s+`);
  return new RegExp(String.raw`(?<![\p{L}\p{N}])${body}(?![\p{L}\p{N}])`, EXACT.has(kind) ? 'u' : 'iu');
}
