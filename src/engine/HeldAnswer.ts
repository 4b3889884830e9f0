import { UnsupportedError, UsageError } from '../base/errors.js';
import { GrammarState } from './gbnf.js';
import type { Vocabulary } from './vocabulary.js';

/** What an answer may consist of. */
export interface Grammar {
  /**
   * Rules in llama.cpp's GBNF, the first named `root`. The parser of libllama writes what it refuses to stderr, and rules that are
   * recursive on the left, or whose readings of one text double with its length, would end or fill the process: such must not come here.
   */
  source: string;
  /** Whether the text of control tokens is part of the text that the grammar describes; otherwise none is drawn but those that end it. */
  controls: boolean;
  /** What stands of the text already. */
  begun?: Int32Array;
}

/** An answer that is held to a grammar, as far as it is written: it comes to its end within the tokens that there are. */
export class HeldAnswer {
  private state: GrammarState;
  private readonly spelling: Spelling;
  /** A shortest way to the end, in tokens; undefined until it is needed, or if there is none. */
  private way: readonly number[] | undefined;
  /** The token that was tried last, and where it leads: most are drawn then. */
  private tried: { token: number; state: GrammarState | undefined } | undefined;
  /** Whether the end had to be brought about, since the tokens ran out. */
  isShortened = false;

  /** @throws UsageError if what stands of it already is not of the grammar; UnsupportedError for a grammar that no text ends */
  constructor(
    readonly grammar: Grammar,
    private readonly vocabulary: Vocabulary,
  ) {
    this.spelling = Spelling.of(vocabulary, grammar.controls);
    let state: GrammarState | undefined = GrammarState.start(grammar.source);
    for (const token of grammar.begun ?? []) state = state?.after(vocabulary.piece(token, true));
    if (!state) {
      const found = 'an answer whose given beginning is not of the form that is asked for';
      throw new UsageError({ found, fix: 'leave the beginning out, or the form' });
    }
    if (state.least === Number.POSITIVE_INFINITY) {
      const found = 'a form that no answer is whole in: what it requires requires the same again';
      throw new UnsupportedError({ found, fix: 'let what leads back to itself be left out, or be null' });
    }
    this.state = state;
  }

  /** Tokens that the shortest answer takes, or what is left of it; undefined if the vocabulary cannot write it. */
  get shortest(): number | undefined {
    return this.toEnd?.length;
  }

  private get toEnd(): readonly number[] | undefined {
    this.way ??= this.spelling.shortest(this.state.shortest(), Number.POSITIVE_INFINITY);
    return this.way;
  }

  /** Where a token leads; undefined for one that the grammar does not allow for. */
  private after(token: number): GrammarState | undefined {
    if (this.tried?.token !== token) {
      this.tried = { token, state: this.state.after(this.vocabulary.piece(token, true)) };
    }
    return this.tried.state;
  }

  /** Whether it cannot go on. */
  get isOver(): boolean {
    return this.state.isOver;
  }

  /** Whether there is a way to an end with this token next and no more than `left` after it. */
  leadsToEnd(token: number, left: number): boolean {
    const next = this.after(token);
    // What the grammar does not allow for at all is refused by libllama's.
    return next !== undefined && this.canEnd(next, left);
  }

  private canEnd(state: GrammarState, most: number): boolean {
    if (state.least <= most && this.spelling.hasAllBytes) return true;
    if (state.least > most * this.spelling.longest) return false;
    return this.spelling.shortest(state.shortest(), most) !== undefined;
  }

  /** The next token on the shortest way to the end; undefined if it has come there, or there is none. */
  get next(): number | undefined {
    return this.toEnd?.[0];
  }

  /** @param token one that libllama has found to be of the grammar */
  push(token: number): void {
    const next = this.after(token);
    if (!next) throw new Error('two readings of one grammar differ');
    this.way = token === this.way?.[0] ? this.way.slice(1) : undefined;
    this.state = next;
    this.tried = undefined;
  }

  /** Tokens of the shortest answer, if even that takes more than so many. */
  lacks(most: number): number | undefined {
    if (this.canEnd(this.state, most)) return undefined;
    const { shortest } = this;
    return shortest === undefined || shortest <= most ? undefined : shortest;
  }
}

/** Pieces longer than this shorten few ends, and each length is looked for at each place. */
const MOST_BYTES = 32;
/** Bytes that hardly any text has in UTF-8: control characters, and beginnings of planes without characters. Some vocabularies lack them. */
const isRare = (byte: number) => (byte < 0x20 && byte !== 9 && byte !== 10) || byte === 0x7f || byte >= 0xf1;

/** The tokens that texts can be written with, as bytes. */
class Spelling {
  private readonly tokens = new Map<string, number>();
  /** Whether each byte of a text has a token of its own. */
  readonly hasAllBytes: boolean;
  /** Bytes of the longest piece. */
  readonly longest: number;

  private static readonly made = new WeakMap<Vocabulary, Map<boolean, Spelling>>();

  static of(vocabulary: Vocabulary, controls: boolean): Spelling {
    const known = Spelling.made.get(vocabulary) ?? new Map<boolean, Spelling>();
    Spelling.made.set(vocabulary, known);
    const made = known.get(controls) ?? new Spelling(vocabulary, controls);
    known.set(controls, made);
    return made;
  }

  private constructor(vocabulary: Vocabulary, controls: boolean) {
    const special = new Set(vocabulary.controls);
    let longest = 0;
    for (let token = 0; token < vocabulary.size; token++) {
      if ((!controls && special.has(token)) || vocabulary.endsGeneration(token)) continue;
      const text = Buffer.from(vocabulary.piece(token, true)).toString('latin1');
      if (text === '' || text.length > MOST_BYTES || text.includes('\0') || this.tokens.has(text)) continue;
      this.tokens.set(text, token);
      longest = Math.max(longest, text.length);
    }
    this.longest = longest;
    this.hasAllBytes = Array.from({ length: 256 }, (_, byte) => byte).every(
      (byte) => isRare(byte) || byte === 0xc0 || byte === 0xc1 || this.tokens.has(String.fromCharCode(byte)),
    );
  }

  /** The last text; for its ends of each length the tokens that they take, and the first of them with the length of its piece. */
  private last = { text: '', counts: [0], firsts: [0] };

  /** The fewest tokens that write a text; undefined if they are more than `most`, or there are none. */
  shortest(bytes: Uint8Array, most: number): number[] | undefined {
    const text = Buffer.from(bytes).toString('latin1');
    const { length } = text;
    if (length > most * this.longest) return undefined;
    const { counts, firsts, text: before } = this.last;
    // Texts that are asked for one after the other mostly end alike.
    let done = 0;
    while (done < length && done < before.length && text.at(-1 - done) === before.at(-1 - done)) done++;
    this.last.text = text;
    for (let left = done + 1; left <= length; left++) {
      const at = length - left;
      counts[left] = Number.POSITIVE_INFINITY;
      for (let piece = 1; piece <= this.longest && piece <= left; piece++) {
        const count = counts[left - piece]! + 1;
        if (count >= counts[left]!) continue;
        const token = this.tokens.get(text.slice(at, at + piece));
        if (token === undefined) continue;
        counts[left] = count;
        firsts[left] = token * MOST_BYTES + piece - 1;
      }
    }
    if (counts[length]! > most || counts[length] === Number.POSITIVE_INFINITY) return undefined;
    const found: number[] = [];
    for (let left = length; left > 0; left -= (firsts[left]! % MOST_BYTES) + 1) {
      found.push(Math.floor(firsts[left]! / MOST_BYTES));
    }
    return found;
  }
}
