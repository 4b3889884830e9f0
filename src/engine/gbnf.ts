/**
 * Grammars in GBNF as this program writes them (`model/grammar`), read a second time: libllama's sampler says which token may follow, and
 * not how far the text is from its end. Texts are bytes here, since a token may end within a character.
 */

/** What one byte may be: 256 flags. */
type ByteSet = Uint8Array;

/** One of several sequences; a rule, a group or a class of characters. */
interface Choice {
  sequences: Sequence[];
  /** Bytes of its shortest text. */
  least: number;
}

/** Something some times over. */
interface Item {
  symbol: ByteSet | Choice;
  least: number;
  most: number;
}

interface Sequence {
  items: Item[];
  /** Of the places in all sequences, the number of this one's first. */
  offset: number;
  /** Bytes that each place and those behind it take at least; one more than the items. */
  rest: number[];
}

/** What is still to come at one reading of a text: items of a sequence from a place on, then what stands behind the sequence. */
interface Rest {
  sequence: Sequence;
  at: number;
  /** Repetitions that the item at this place has had. */
  used: number;
  behind: Rest | undefined;
  /** Bytes that it takes at least. */
  least: number;
  /** What leads here: each is made once, so that readings that have met are one. */
  before: Map<number, Rest>;
}

/** A byte that may come, and what comes after it. */
interface Step {
  bytes: ByteSet;
  then: Rest;
}

/** No item is repeated more often (`Rules`). */
const MOST_USED = 1 << 20;

/** A text that a grammar allows to go on, as far as it has come. */
export class GrammarState {
  private constructor(
    private readonly steps: readonly Step[],
    private readonly ends: boolean,
    /** Bytes that it takes to an end, at least. */
    readonly least: number,
  ) {}

  /** Before the first byte. @param source whose first rule is `root` */
  static start(source: string): GrammarState {
    const root = new Reader(source).root();
    const end: Rest = {
      sequence: { items: [], offset: 0, rest: [0] },
      at: 0,
      used: 0,
      behind: undefined,
      least: 0,
      before: new Map(),
    };
    const all: Sequence = { items: [{ symbol: root, least: 1, most: 1 }], offset: 1, rest: [root.least, 0] };
    return GrammarState.of([restAt(all, 0, 0, end)]);
  }

  private static of(rests: readonly Rest[]): GrammarState {
    const steps: Step[] = [];
    const seen = new Set<Rest>();
    const open = [...rests];
    let ends = false;
    let least = Number.POSITIVE_INFINITY;
    for (let rest = open.pop(); rest; rest = open.pop()) {
      if (seen.has(rest)) continue;
      seen.add(rest);
      const item = rest.sequence.items[rest.at];
      if (!item) {
        ends = true;
        continue;
      }
      if (rest.used >= item.least) open.push(restAt(rest.sequence, rest.at + 1, 0, rest.behind!));
      if (rest.used >= item.most) continue;
      const then = afterOne(rest, item);
      if (item.symbol instanceof Uint8Array) {
        steps.push({ bytes: item.symbol, then });
        least = Math.min(least, 1 + then.least);
      } else for (const one of item.symbol.sequences) open.push(restAt(one, 0, 0, then));
    }
    return new GrammarState(steps, ends, ends ? 0 : least);
  }

  /** Whether nothing can follow. */
  get isOver(): boolean {
    return this.steps.length === 0;
  }

  /** With some bytes more; undefined if the grammar does not allow for them. */
  after(bytes: Uint8Array): GrammarState | undefined {
    let state: GrammarState = this;
    for (const byte of bytes) {
      const next = new Set<Rest>();
      for (const step of state.steps) if (step.bytes[byte] === 1) next.add(step.then);
      if (next.size === 0) return undefined;
      state = GrammarState.of([...next]);
    }
    return state;
  }

  /** A shortest text from here to an end. */
  shortest(): Uint8Array {
    const bytes: number[] = [];
    if (this.ends) return Uint8Array.from(bytes);
    const first = this.steps.find(({ then }) => 1 + then.least === this.least)!;
    bytes.push(first.bytes.indexOf(1));
    let rest = first.then;
    for (let item = rest.sequence.items[rest.at]; item; item = rest.sequence.items[rest.at]) {
      if (rest.used >= item.least) {
        rest = restAt(rest.sequence, rest.at + 1, 0, rest.behind!);
        continue;
      }
      const then = afterOne(rest, item);
      if (item.symbol instanceof Uint8Array) {
        bytes.push(item.symbol.indexOf(1));
        rest = then;
      } else {
        const { sequences, least } = item.symbol;
        rest = restAt(sequences.find((one) => one.rest[0] === least)!, 0, 0, then);
      }
    }
    return Uint8Array.from(bytes);
  }
}

/** What is left behind one more of the item that a rest begins with. */
function afterOne({ sequence, at, used, behind }: Rest, { least, most }: Item): Rest {
  if (used + 1 === most) return restAt(sequence, at + 1, 0, behind!);
  // Without a limit it need not be counted beyond what is demanded.
  return restAt(sequence, at, most === Number.POSITIVE_INFINITY ? Math.min(used + 1, least) : used + 1, behind!);
}

function restAt(sequence: Sequence, at: number, used: number, behind: Rest): Rest {
  const { items, offset, rest } = sequence;
  if (at === items.length) return behind;
  const key = (offset + at) * MOST_USED + used;
  const known = behind.before.get(key);
  if (known) return known;
  const { symbol, least: times } = items[at]!;
  const still = times > used ? (times - used) * sizeOf(symbol) : 0;
  const least = still + rest[at + 1]! + behind.least;
  const made: Rest = { sequence, at, used, behind, least, before: new Map() };
  behind.before.set(key, made);
  return made;
}

const sizeOf = (symbol: ByteSet | Choice) => (symbol instanceof Uint8Array ? 1 : symbol.least);

/** Reads the rules. */
class Reader {
  private readonly rules = new Map<string, Choice>();
  private readonly classes = new Map<string, ByteSet | Choice>();
  private readonly choices: Choice[] = [];
  /** 0 and 1 are taken. */
  private places = 2;
  private line = '';
  private at = 0;

  constructor(source: string) {
    for (const line of source.split('\n')) {
      const [, name, body] = /^([\w-]+) ::= (.*)$/.exec(line) ?? [];
      if (name === undefined) continue;
      [this.line, this.at] = [body!, 0];
      this.rule(name).sequences = this.alternatives();
    }
    this.measure();
  }

  root(): Choice {
    return this.rule('root');
  }

  private choice(sequences: Sequence[]): Choice {
    const made = { sequences, least: Number.POSITIVE_INFINITY };
    this.choices.push(made);
    return made;
  }

  private rule(name: string): Choice {
    const known = this.rules.get(name);
    if (known) return known;
    const made = this.choice([]);
    this.rules.set(name, made);
    return made;
  }

  private sequence(items: Item[]): Sequence {
    const offset = this.places;
    this.places += items.length;
    return { items, offset, rest: [] };
  }

  private alternatives(): Sequence[] {
    const found: Sequence[] = [];
    do found.push(this.sequence(this.items()));
    while (this.takes('|'));
    return found;
  }

  private takes(mark: string): boolean {
    this.skip();
    if (this.line[this.at] !== mark) return false;
    this.at++;
    return true;
  }

  private skip(): void {
    while (this.line[this.at] === ' ') this.at++;
  }

  private items(): Item[] {
    const items: Item[] = [];
    for (;;) {
      const symbols = this.symbols();
      if (!symbols) return items;
      const [least, most] = this.repetition();
      if (least === 1 && most === 1) items.push(...symbols.map((symbol) => ({ symbol, least, most })));
      else items.push({ symbol: symbols.length === 1 ? symbols[0]! : this.chain(symbols), least, most });
    }
  }

  private chain(symbols: (ByteSet | Choice)[]): Choice {
    return this.choice([this.sequence(symbols.map((symbol) => ({ symbol, least: 1, most: 1 })))]);
  }

  /** What a repetition would be of: a text in its bytes, or one class, rule or group. */
  private symbols(): (ByteSet | Choice)[] | undefined {
    this.skip();
    const char = this.line[this.at];
    if (char === '"') {
      this.at++;
      const bytes: ByteSet[] = [];
      while (this.line[this.at] !== '"') {
        for (const byte of Buffer.from(String.fromCodePoint(this.code()), 'utf8')) bytes.push(bytesFrom(byte, byte));
      }
      this.at++;
      return bytes;
    }
    if (char === '[') return [this.charClass()];
    if (char === '(') {
      this.at++;
      const group = this.choice(this.alternatives());
      this.takes(')');
      return [group];
    }
    const [name] = /^[\w-]+/.exec(this.line.slice(this.at, this.at + 40)) ?? [];
    if (name === undefined) return undefined;
    this.at += name.length;
    return [this.rule(name)];
  }

  /** A repetition stands right behind what it is of. */
  private repetition(): [least: number, most: number] {
    const [all, sign, least, comma, most] =
      /^(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})/.exec(this.line.slice(this.at, this.at + 30)) ?? [];
    if (all === undefined) return [1, 1];
    this.at += all.length;
    if (sign !== undefined) return [sign === '+' ? 1 : 0, sign === '?' ? 1 : Number.POSITIVE_INFINITY];
    if (comma === undefined) return [Number(least), Number(least)];
    return [Number(least), most === '' ? Number.POSITIVE_INFINITY : Number(most)];
  }

  /** A code point of a text or a class. */
  private code(): number {
    if (this.line[this.at] !== '\\') {
      const code = this.line.codePointAt(this.at)!;
      this.at += code > 0xffff ? 2 : 1;
      return code;
    }
    const kind = this.line[this.at + 1]!;
    const digits = { x: 2, u: 4, U: 8 }[kind] ?? 0;
    const code = Number.parseInt(this.line.slice(this.at + 2, this.at + 2 + digits), 16);
    this.at += 2 + digits;
    if (digits > 0) return code;
    return ({ n: '\n', t: '\t', r: '\r' }[kind] ?? kind).codePointAt(0)!;
  }

  private charClass(): ByteSet | Choice {
    const from = this.at++;
    const sequences: ByteSet[][] = [];
    while (this.line[this.at] !== ']') {
      const first = this.code();
      let last = first;
      if (this.line[this.at] === '-') {
        this.at++;
        last = this.code();
      }
      sequences.push(...byteSequences(first, last));
    }
    const text = this.line.slice(from, ++this.at);
    const known = this.classes.get(text);
    if (known) return known;
    const single = new Uint8Array(256);
    for (const [only, ...others] of sequences) {
      if (others.length === 0) for (let byte = 0; byte < 256; byte++) single[byte]! |= only![byte]!;
    }
    const wide = sequences.filter(({ length }) => length > 1);
    const hasSingle = single.includes(1);
    const all = [...(hasSingle ? [[single]] : []), ...wide];
    const made = wide.length === 0 ? single : this.choice(all.map((one) => this.chain(one).sequences[0]!));
    this.classes.set(text, made);
    return made;
  }

  /** The shortest text of each choice, until nothing is shorter than thought: rules stand before and behind those that they lead to. */
  private measure(): void {
    for (let changed = true; changed; ) {
      changed = false;
      this.choices.reverse();
      for (const choice of this.choices) {
        let least = Number.POSITIVE_INFINITY;
        for (const one of choice.sequences) least = Math.min(least, measured(one));
        if (least < choice.least) {
          choice.least = least;
          changed = true;
        }
      }
    }
  }
}

/** Bytes of a sequence's shortest text, by what is known of its parts. */
function measured(sequence: Sequence): number {
  const { items } = sequence;
  sequence.rest.length = items.length + 1;
  sequence.rest[items.length] = 0;
  for (let i = items.length - 1; i >= 0; i--) {
    const { symbol, least } = items[i]!;
    sequence.rest[i] = sequence.rest[i + 1]! + (least === 0 ? 0 : least * sizeOf(symbol));
  }
  return sequence.rest[0]!;
}

function bytesFrom(from: number, to: number): ByteSet {
  return new Uint8Array(256).fill(1, from, to + 1);
}

/** Code points from one to another in UTF-8: sequences of bytes, each of which may be any of its set whatever the others are. */
function byteSequences(from: number, to: number): ByteSet[][] {
  for (const last of [0x7f, 0x7ff, 0xffff]) {
    if (from <= last && to > last) return [...byteSequences(from, last), ...byteSequences(last + 1, to)];
  }
  if (to <= 0x7f) return [[bytesFrom(from, to)]];
  // A range of which the last bytes are not all of theirs is cut where they are.
  for (let bits = 6; bits <= 18; bits += 6) {
    const low = (1 << bits) - 1;
    if (from >> bits === to >> bits) continue;
    if ((from & low) !== 0) return [...byteSequences(from, from | low), ...byteSequences((from | low) + 1, to)];
    if ((to & low) !== low) return [...byteSequences(from, (to & ~low) - 1), ...byteSequences(to & ~low, to)];
  }
  const [first, last] = [from, to].map((code) => Buffer.from(String.fromCodePoint(code), 'utf8'));
  return [[...first!].map((byte, i) => bytesFrom(byte, last![i]!))];
}
