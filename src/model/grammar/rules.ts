import { UsageError } from '../../base/errors.js';
import { count } from '../../base/format.js';

/**
 * Writes grammars in llama.cpp's GBNF. What they are made of may come from a stranger: names are our own, texts are escaped, and the whole is
 * bounded, since libllama's parser has no other answer to what it dislikes than to end.
 */

/** Characters of a grammar. */
const MAX_LENGTH = 1 << 20;
/** libllama expands a repetition into rules, fewer than 2,000 of them. */
const MAX_REPEATED = 1500;
/** Repetitions of a character are cut into blocks of so many. */
const BLOCK = 500;
/** No answer is longer than this: a limit beyond says nothing. */
const NEVER_REACHED = { characters: 1_000_000, items: 100_000 };
const MOST_CHARACTERS = 100_000;

/** A grammar whose texts are those of several. */
export function anyOf(grammars: readonly string[]): string {
  const roots = grammars.map((_, i) => `g${i}-root`);
  return [`root ::= ${roots.join(' | ')}\n`, ...grammars.map((one, i) => renamed(one, `g${i}-`))].join('');
}

/** A grammar whose rules all have another name. */
function renamed(grammar: string, prefix: string): string {
  const parts = /("(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\])|([A-Za-z][\w-]*)/g;
  return grammar.replace(parts, (_, text: string | undefined, name: string) => text ?? prefix + name);
}

/** A range of code points, both ends included. */
export type Range = readonly [from: number, to: number];

/** A text, as it stands. */
export function literal(text: string): string {
  return `"${Array.from(text, (char) => escaped(char.codePointAt(0)!)).join('')}"`;
}

/** One character of some ranges. */
export function oneOf(ranges: readonly Range[]): string {
  const show = ([from, to]: Range) => (from === to ? escaped(from) : `${escaped(from)}-${escaped(to)}`);
  return `[${ranges.map(show).join('')}]`;
}

/** In a class or a text; letters and digits as they are. */
function escaped(code: number): string {
  const char = String.fromCodePoint(code);
  if (/[A-Za-z0-9 ,:._{}<>/=|@#%&*();!?'+~$`]/.test(char)) return char;
  const hex = (digits: number) => code.toString(16).toUpperCase().padStart(digits, '0');
  return code <= 0xff ? `\\x${hex(2)}` : code <= 0xffff ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}

/** Every character. */
export const ANY: readonly Range[] = [
  [0x01, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** Ranges without some code points. */
export function exclude(ranges: readonly Range[], codes: readonly number[]): Range[] {
  let rest = [...ranges];
  for (const code of codes) {
    rest = rest.flatMap(([from, to]): Range[] => {
      if (code < from || code > to) return [[from, to]];
      return (
        [
          [from, code - 1],
          [code + 1, to],
        ] as Range[]
      ).filter(([a, b]) => a <= b);
    });
  }
  return rest;
}

/**
 * Rules of the texts of some characters that do not contain a text.
 * @param name of the rule that holds once so many characters of it are there; the first is that of the texts
 */
export function without(text: string, ranges: readonly Range[], name: (at: number) => string): [string, string][] {
  const codes = Array.from(text, (char) => char.codePointAt(0)!);
  // How much of the text is there if a character follows the first so many (Knuth, Morris, Pratt 1977).
  const after = (at: number, code: number): number => {
    for (let n = Math.min(at + 1, codes.length); n > 0; n--) {
      const tail = [...codes.slice(0, at), code].slice(-n);
      if (tail.every((one, i) => one === codes[i])) return n;
    }
    return 0;
  };
  const names = codes.map((_, at) => name(at));
  return names.map((own, at) => {
    const steps = [...new Set(codes)].map((code) => [code, after(at, code)] as const).filter(([, to]) => to > 0);
    const others = exclude(
      ranges,
      steps.map(([code]) => code),
    );
    const parts = steps
      .filter(([, to]) => to < codes.length)
      .map(([code, to]) => `${oneOf([[code, code]])} ${names[to]}`);
    return [own, [`${oneOf(others)} ${names[0]}`, ...parts, '""'].join(' | ')];
  });
}

/** Code points that stand for themselves in a JSON string: no control characters, quotation mark or backslash, and no surrogates. */
export const PLAIN: readonly Range[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x7e],
  [0xa0, 0xd7ff],
  [0xe000, 0xfffd],
  [0x10000, 0x10ffff],
];

/** Characters of texts that stand as they are between marks which begin with "<". */
export const UNMARKED: readonly Range[] = [
  [0x09, 0x0a],
  ...exclude(ANY, ['<'.charCodeAt(0)])
    .filter(([, to]) => to >= 0x20)
    .map(([from, to]): Range => [Math.max(from, 0x20), to]),
];

/** How values are written. Its rules have the names of those of JSON. */
export interface Dialect {
  rules: Record<string, string>;
  /** A value as it stands. */
  write(value: unknown): string;
  /** The name of a member, up to what stands between it and its value. */
  key(name: string): string;
  /** What stands around texts, the characters that are written as they are in them, and whether others are escaped as in JSON. */
  texts: { mark: string; plain: readonly Range[]; escapes: boolean };
  /** Names of the rules of any value, of any text, of a character in one and of constants, if they are not those of JSON. */
  own?: Partial<typeof usual>;
  /** The same for names of members that no schema lists. */
  names: { mark: string; plain: readonly Range[] };
}

const usual = { value: 'value', string: 'string', char: 'char', boolean: 'boolean', null: 'null' };

const HEX = '[0-9A-Fa-f]';

/** JSON as such. White space is bounded: a model may otherwise write nothing else. */
export const json: Dialect = {
  rules: {
    ws: '(" " | "\\n" [ \\t]{0,20})?',
    char: `${oneOf(PLAIN)} | "\\\\" ([\\"\\\\/bfnrt] | "u" unit)`,
    // A surrogate is half a character.
    unit: `[0-9A-Ca-cE-Fe-f] ${HEX} ${HEX} ${HEX} | [Dd] ([0-7] ${HEX} ${HEX} | [89ABab] ${HEX} ${HEX} "\\\\u" [Dd] [C-Fc-f] ${HEX} ${HEX})`,
    string: '"\\"" char* "\\""',
    integer: '"-"? ("0" | [1-9] [0-9]{0,14})',
    number: '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([Ee] [\\x2B\\x2D]? [0-9] [0-9]?)?',
    boolean: '"true" | "false"',
    null: '"null"',
    value: 'object | array | string | number | boolean | null',
    member: 'string ":" ws value',
    object: '"{" ws (member ("," ws member)* ws)? "}"',
    array: '"[" ws (value ("," ws value)* ws)? "]"',
  },
  write: (value) => JSON.stringify(value),
  key: (name) => JSON.stringify(name),
  texts: { mark: '"', plain: PLAIN, escapes: true },
  names: { mark: '"', plain: PLAIN },
};

/** The rules of one grammar. */
export class Rules {
  constructor(
    readonly dialect: Dialect = json,
    /** Rules by their names, and names by what the rules say: what is said twice is one rule. */
    private readonly made = { bodies: new Map<string, string>(), names: new Map<string, string>(), length: 0 },
  ) {}

  /** The same rules, to which others are added in another dialect; those that it has itself must be among this one's. */
  in(dialect: Dialect): Rules {
    return new Rules(dialect, this.made);
  }

  /** Names of rules of the dialect. */
  get any(): typeof usual {
    return { ...usual, ...this.dialect.own };
  }

  /** The name of a rule that says this. */
  add(body: string): string {
    const known = this.made.names.get(body);
    if (known !== undefined) return known;
    const name = this.reserve();
    this.made.names.set(body, name);
    this.define(name, body);
    return name;
  }

  /** A name whose rule is told later, so that it can lead back to itself. */
  reserve(): string {
    const name = `r${this.made.bodies.size}`;
    this.made.bodies.set(name, '');
    return name;
  }

  define(name: string, body: string): void {
    this.made.length += body.length;
    if (this.made.length > MAX_LENGTH) {
      throw new UsageError({ code: 'too-large', found: 'a schema that makes too many rules', fix: 'make it smaller' });
    }
    this.made.bodies.set(name, body);
  }

  /** The grammar whose texts are those of `root`. */
  text(root: string): string {
    const all = [['root', root], ...this.made.bodies, ...Object.entries(this.dialect.rules)];
    return all.map(([name, body]) => `${name} ::= ${body}\n`).join('');
  }

  /** Any text that does not contain another. */
  without(text: string): string {
    const names: string[] = [];
    for (const [name, body] of without(text, ANY, (at) => (names[at] ??= this.reserve()))) this.define(name, body);
    return names[0]!;
  }

  /** One of several texts, with what they begin with alike written once: a reading is only begun where it differs from others. */
  oneText(texts: readonly string[]): string {
    const [first = '', ...others] = [...new Set(texts)].sort();
    if (others.length === 0) return literal(first);
    return this.add(this.branches([first, ...others], 0));
  }

  /** @param texts sorted, different, and alike up to a place */
  private branches(texts: readonly string[], from: number): string {
    const [first, last] = [texts[0]!, texts.at(-1)!];
    let to = from;
    while (to < first.length && first[to] === last[to]) to++;
    // No character is cut in two.
    if (to > from && /[\uD800-\uDBFF]/.test(first[to - 1]!)) to--;
    const head = to > from ? literal(first.slice(from, to)) : '';
    if (texts.length === 1) return head === '' ? '""' : head;
    const groups = new Map<number | undefined, string[]>();
    for (const text of texts) {
      const next = text.codePointAt(to);
      groups.set(next, [...(groups.get(next) ?? []), text]);
    }
    const tails = [...groups.values()].map((group) =>
      group.length === 1 ? literal(group[0]!.slice(to)) : this.add(this.branches(group, to)),
    );
    return `${head} (${tails.join(' | ')})`.trim();
  }

  /**
   * Something some times over, one reading at a time: characters.
   * @param most undefined for any number
   */
  characters(one: string, least: number, most: number | undefined, where: string): string {
    const limit = most !== undefined && most < NEVER_REACHED.characters ? most : undefined;
    if (least > MOST_CHARACTERS || (limit ?? 0) > MOST_CHARACTERS) {
      throw tooMany(`${count(Math.max(least, limit ?? 0))} characters`, MOST_CHARACTERS, where);
    }
    const name = this.add(one);
    const parts: string[] = [];
    const block = () => this.add(`${name}{${BLOCK}}`);
    for (let n = least; n > 0; n -= BLOCK) parts.push(n >= BLOCK ? block() : `${name}{${n}}`);
    if (limit === undefined) parts.push(`${name}*`);
    else if (limit > least) parts.push(this.upTo(name, limit - least, block));
    return parts.length === 0 ? '""' : parts.join(' ');
  }

  private upTo(name: string, most: number, block: () => string): string {
    const fewer = `${name}{0,${BLOCK - 1}}`;
    let all = most % BLOCK === 0 ? '""' : `${name}{0,${most % BLOCK}}`;
    for (let n = BLOCK; n <= most; n += BLOCK) all = this.add(`${block()} ${all} | ${this.add(fewer)}`);
    return all;
  }

  /** The same for things that may hold others like them: never two readings of one text. */
  items(one: string, least: number, most: number | undefined, where: string): string {
    const limit = most !== undefined && most < NEVER_REACHED.items ? most : undefined;
    if (Math.max(least, limit ?? 0) > MAX_REPEATED)
      throw tooMany(`${count(Math.max(least, limit ?? 0))} items`, MAX_REPEATED, where);
    const next = this.add(`"," ws ${one}`);
    const body = (from: number, to: number | undefined) => {
      if (to === 0) return '';
      return to === undefined ? `${next}{${from},}` : `${next}{${from},${to}}`;
    };
    if (limit === 0) return '""';
    const some = `${one} ${body(Math.max(0, least - 1), limit === undefined ? undefined : limit - 1)} ws`;
    return least > 0 ? some : `(${some})?`;
  }
}

function tooMany(found: string, most: number, where: string): UsageError {
  return new UsageError({ code: 'too-large', found, expected: `at most ${count(most)}`, where });
}
