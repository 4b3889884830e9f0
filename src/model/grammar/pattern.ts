import { UnsupportedError, UsageError } from '../../base/errors.js';
import { oneOf, type Range, type Rules } from './rules.js';

/**
 * `pattern` of a JSON schema, a regular expression of ECMAScript, as rules for the inside of a JSON string. What is not regular in it, or
 * looks around, is refused.
 */

const MAX_SOURCE = 1000;
const MAX_DEPTH = 40;
/** Characters that a pattern describes, its repetitions written out: each may be a reading of its own, to be followed for every token. */
const MAX_PLACES = 1000;
const LAST = 0x10ffff;

type Node =
  | { type: 'set'; ranges: readonly Range[] }
  | { type: 'all'; parts: Node[] }
  | { type: 'any'; parts: Node[] }
  | { type: 'repeat'; part: Node; least: number; most: number | undefined };

/** One of the alternatives of a whole pattern, and whether it stands at the text's start and end. */
interface Branch {
  node: Node;
  starts: boolean;
  ends: boolean;
}

/** Bounds on the length of the text. */
export interface Lengths {
  least: number;
  most: number | undefined;
}

/** @throws UnsupportedError, UsageError that name what cannot be expressed */
export function patternRule(rules: Rules, source: string, lengths: Lengths, where: string): string {
  const branches = new Parser(source, where).branches();
  const emit = (node: Node): string => {
    switch (node.type) {
      case 'set':
        return setRule(rules, node.ranges, where);
      case 'all':
        return node.parts.length === 0 ? '""' : node.parts.map(emit).join(' ');
      case 'any':
        return rules.add(node.parts.map(emit).join(' | '));
      case 'repeat': {
        const { least, most } = node;
        const one = rules.add(emit(node.part));
        if (most === undefined) return least === 0 ? `${one}*` : `${one}{${least},}`;
        return most === 0 ? '""' : `${one}{${least},${most}}`;
      }
    }
  };
  if (lengths.least > 0 || lengths.most !== undefined) {
    const [only, ...others] = branches;
    const { node, starts, ends } = only!;
    const one = node.type === 'all' && node.parts.length === 1 ? node.parts[0]! : node;
    if (others.length > 0 || !starts || !ends || one.type !== 'repeat' || one.part.type !== 'set') {
      const found =
        'a pattern beside a length, which can only be expressed for one kind of characters, as in "^[a-z]+$"';
      throw new UnsupportedError({ found, where, fix: 'leave one of the two out' });
    }
    const least = Math.max(one.least, lengths.least);
    const most = Math.min(one.most ?? Infinity, lengths.most ?? Infinity);
    if (most < least) throw new UsageError({ found: 'a pattern and a length that no text fits both', where });
    const set = setRule(rules, one.part.ranges, where);
    return rules.characters(set, least, most === Infinity ? undefined : most, where);
  }
  const { char } = rules.any;
  const all = branches.map(
    ({ node, starts, ends }) => `${starts ? '' : `${char}* `}${emit(node)}${ends ? '' : ` ${char}*`}`,
  );
  return rules.add(all.join(' | '));
}

/** How characters are written that cannot stand for themselves in a JSON string. */
const ESCAPES: readonly (readonly [code: number, text: string])[] = [
  [0x22, '\\"'],
  [0x5c, '\\\\'],
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
];

/** One character of a set, as a text has it. */
function setRule(rules: Rules, ranges: readonly Range[], where: string): string {
  const { texts } = rules.dialect;
  const plain = intersect(ranges, texts.plain);
  const escapes = ESCAPES.filter(([code]) => texts.escapes && ranges.some(([from, to]) => from <= code && code <= to));
  const parts = plain.length > 0 ? [oneOf(plain)] : [];
  if (escapes.length > 0) parts.push(`"\\\\" [${escapes.map(([, text]) => text).join('')}]`);
  if (parts.length === 0) throw new UnsupportedError({ found: 'a pattern of characters that are not written', where });
  return rules.add(parts.join(' | '));
}

function intersect(some: readonly Range[], others: readonly Range[]): Range[] {
  return some.flatMap(([a, b]) =>
    others.flatMap(([c, d]): Range[] => (Math.max(a, c) <= Math.min(b, d) ? [[Math.max(a, c), Math.min(b, d)]] : [])),
  );
}

function complement(ranges: readonly Range[]): Range[] {
  const rest: Range[] = [];
  let next = 0;
  for (const [from, to] of [...ranges].sort(([a], [b]) => a - b)) {
    if (from > next) rest.push([next, from - 1]);
    next = Math.max(next, to + 1);
  }
  if (next <= LAST) rest.push([next, LAST]);
  return rest;
}

const digit: Range[] = [[0x30, 0x39]];
const word: Range[] = [...digit, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const space: Range[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const lineEnds: Range[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const classes: Record<string, Range[]> = {
  d: digit,
  D: complement(digit),
  w: word,
  W: complement(word),
  s: space,
  S: complement(space),
};
const controls: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13 };

class Parser {
  private at = 0;
  private depth = 0;

  constructor(
    private readonly source: string,
    private readonly where: string,
  ) {
    if (source.length > MAX_SOURCE) {
      throw new UsageError({
        code: 'too-large',
        found: `a pattern of ${source.length} characters`,
        expected: `at most ${MAX_SOURCE}`,
        where,
      });
    }
    try {
      new RegExp(source, 'u');
    } catch {
      throw new UsageError({ found: 'a pattern that is no regular expression', where });
    }
  }

  branches(): Branch[] {
    const found: Branch[] = [];
    do {
      const starts = this.take('^');
      const node = this.sequence();
      const ends = this.take('$');
      found.push({ node, starts, ends });
    } while (this.take('|'));
    if (this.at < this.source.length) throw this.refuse(`"${this.source[this.at]}" at this place`);
    if (found.reduce((sum, { node }) => sum + placesOf(node), 0) > MAX_PLACES) {
      throw new UsageError({
        code: 'too-large',
        found: 'a pattern with large repetitions',
        expected: `at most ${MAX_PLACES} characters, all repetitions written out`,
        where: this.where,
      });
    }
    return found;
  }

  private refuse(what: string): UnsupportedError {
    return new UnsupportedError({ found: `a pattern with ${what}, which is not served`, where: this.where });
  }

  private take(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  private sequence(): Node {
    const parts: Node[] = [];
    while (this.at < this.source.length && !/[|)$]/.test(this.source[this.at]!)) parts.push(this.repeated());
    return { type: 'all', parts };
  }

  private repeated(): Node {
    const part = this.atom();
    const [text, sign, least, comma, most] =
      /^(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})\??/.exec(this.source.slice(this.at, this.at + 30)) ?? [];
    if (text === undefined) return part;
    this.at += text.length;
    const [from, to] =
      sign === undefined
        ? [Number(least), comma === undefined ? Number(least) : most === '' ? undefined : Number(most)]
        : [sign === '+' ? 1 : 0, sign === '?' ? 1 : undefined];
    if (isNullable(part) && sign !== '?') throw this.refuse('a repetition of what may be empty');
    return { type: 'repeat', part, least: from, most: to };
  }

  private atom(): Node {
    if (this.take('(')) return this.group();
    if (this.take('[')) return this.charClass();
    if (this.take('.')) return { type: 'set', ranges: complement(lineEnds) };
    if (this.take('\\')) return { type: 'set', ranges: this.escape() };
    if (this.source[this.at] === '^') throw this.refuse('"^" within it');
    return { type: 'set', ranges: [this.single()] };
  }

  private group(): Node {
    if (/^\?(?:[=!]|<[=!])/.test(this.source.slice(this.at, this.at + 3))) throw this.refuse('a look around');
    const [name = ''] = /^\?(?::|<\w+>)/.exec(this.source.slice(this.at)) ?? [];
    if (name === '' && this.source[this.at] === '?') throw this.refuse('flags');
    this.at += name.length;
    if (++this.depth > MAX_DEPTH) throw this.refuse(`groups more than ${MAX_DEPTH} deep`);
    const parts = [this.sequence()];
    while (this.take('|')) parts.push(this.sequence());
    if (!this.take(')')) throw this.refuse('"$" within it');
    this.depth--;
    return parts.length === 1 ? parts[0]! : { type: 'any', parts };
  }

  private charClass(): Node {
    const negated = this.take('^');
    const ranges: Range[] = [];
    while (!this.take(']')) {
      const from = this.take('\\') ? this.escape() : [this.single()];
      const isRange = from.length === 1 && from[0]![0] === from[0]![1] && /^-[^\]]/.test(this.source.slice(this.at));
      if (!isRange) {
        ranges.push(...from);
        continue;
      }
      this.at++;
      const to = this.take('\\') ? this.escape() : [this.single()];
      ranges.push([from[0]![0], to[0]![1]]);
    }
    return { type: 'set', ranges: negated ? complement(ranges) : ranges };
  }

  private single(): Range {
    const code = this.source.codePointAt(this.at)!;
    this.at += code > 0xffff ? 2 : 1;
    return [code, code];
  }

  private escape(): Range[] {
    const char = this.source[this.at]!;
    const known = classes[char];
    if (known) {
      this.at++;
      return known;
    }
    const [hex, ...codes] =
      /^(?:x([0-9a-f]{2})|u([0-9a-f]{4})|u\{([0-9a-f]+)\})/i.exec(this.source.slice(this.at)) ?? [];
    if (hex !== undefined) {
      this.at += hex.length;
      const code = Number.parseInt(codes.find((one) => one !== undefined)!, 16);
      if (code >= 0xd800 && code <= 0xdfff) throw this.refuse('half a character');
      return [[code, code]];
    }
    if (/[0-9a-zA-Z]/.test(char) && !(char in controls)) throw this.refuse(`"\\${char}"`);
    this.at++;
    const code = controls[char] ?? char.codePointAt(0)!;
    return [[code, code]];
  }
}

function isNullable(node: Node): boolean {
  switch (node.type) {
    case 'set':
      return false;
    case 'all':
      return node.parts.every(isNullable);
    case 'any':
      return node.parts.some(isNullable);
    case 'repeat':
      return node.least === 0 || isNullable(node.part);
  }
}

function placesOf(node: Node): number {
  switch (node.type) {
    case 'set':
      return 1;
    case 'all':
    case 'any':
      return node.parts.reduce((sum, part) => sum + placesOf(part), 0);
    case 'repeat':
      return placesOf(node.part) * Math.max(1, node.most ?? node.least);
  }
}
