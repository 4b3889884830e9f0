import { LoamError, UsageError } from '../base/errors.js';
import type { HeldAnswer } from './HeldAnswer.js';
import type { LlamaContext } from './llama.js';
import type { SamplerHandle } from './llamaBindings.js';
import { native } from './native.js';
import type { Vocabulary } from './vocabulary.js';

/** How the next token is drawn, and from which. */
export interface SamplerSettings {
  /** 0 takes the likeliest token. */
  temperature: number;
  topP: number;
  /** 1 is off. */
  repeatPenalty: number;
  /** Draws from so many tokens; absent: from all. */
  topK?: number;
  /** Tokens less likely than this share of the likeliest are never drawn (Nguyen et al. 2024); absent: 0.05. */
  minP?: number;
  /** Taken off the logit of a token, for each time it came up and once; absent: 0. */
  frequencyPenalty?: number;
  presencePenalty?: number;
  /** Added to the logits of tokens by their ids. */
  logitBias?: readonly (readonly [token: number, bias: number])[];
  seed?: number;
}

const penaltyWindow = 64;
const defaultMinP = 0.05;
const byteSize = 12;
/** Tokens that are drawn and would go on for too long; then the shortest way to the end is taken. */
const MOST_TOO_LONG = 8;

/** Candidates as libllama's samplers take them: entries of token, logit and probability. */
class Candidates {
  private readonly tokens: Int32Array;
  private readonly logits: Float32Array;

  constructor(readonly size: number) {
    const memory = new ArrayBuffer(Math.max(1024, size * byteSize));
    this.tokens = new Int32Array(memory);
    this.logits = new Float32Array(memory);
  }

  fill(logits: Float32Array): void {
    for (let token = 0, at = 0; token < this.size; token++, at += 3) {
      this.tokens[at] = token;
      this.logits[at + 1] = logits[token]!;
      this.logits[at + 2] = 0;
    }
  }

  /** One token alone. */
  fillWith(token: number): void {
    this.tokens[0] = token;
    this.logits[1] = 1;
    this.logits[2] = 0;
  }

  /** Only while the entries stand in the order of tokens. */
  ban(token: number): void {
    this.logits[3 * token + 1] = Number.NEGATIVE_INFINITY;
  }

  get hasAny(): boolean {
    for (let at = 1; at < 3 * this.size; at += 3) if (this.logits[at]! > Number.NEGATIVE_INFINITY) return true;
    return false;
  }

  /** @returns the token that the sampler selects, if it selects one */
  apply(sampler: SamplerHandle): number {
    const array = { data: this.tokens, size: this.size, selected: 0, sorted: false };
    native().llama.samplerApply(sampler, array);
    return this.tokens[3 * Number(array.selected)]!;
  }
}

/** Holds a text of tokens against a grammar. */
class Constraint implements Disposable {
  private readonly sampler: SamplerHandle;
  private readonly one = new Candidates(1);
  private bytes = new Utf8();

  constructor(
    readonly answer: HeldAnswer,
    private readonly vocabulary: Vocabulary,
  ) {
    const { grammar } = answer;
    const sampler = native().llama.samplerGrammar(vocabulary.handle, grammar.source, 'root');
    if (!sampler) throw new Error('llama.cpp refused a grammar');
    this.sampler = sampler;
    for (const token of grammar.begun ?? []) {
      if (!this.allows(token)) throw new Error('two readings of one grammar differ');
      this.take(token);
    }
  }

  /** Whether the text may go on with this token. */
  allows(token: number): boolean {
    if (!this.vocabulary.endsGeneration(token)) {
      if (!this.answer.grammar.controls && this.vocabulary.isControl(token)) return false;
      // libllama takes some sequences for characters that are none, and reads no further than a zero.
      const piece = this.vocabulary.piece(token, true);
      if (piece.length === 0 || piece.includes(0) || !this.bytes.after(piece)) return false;
    }
    this.one.fillWith(token);
    this.one.apply(this.sampler);
    return this.one.hasAny;
  }

  /** Leaves only what may follow. */
  mask(candidates: Candidates): void {
    if (!this.answer.grammar.controls) {
      for (const token of this.vocabulary.controls) {
        if (!this.vocabulary.endsGeneration(token)) candidates.ban(token);
      }
    }
    candidates.apply(this.sampler);
  }

  /** @param token one that is allowed: libllama would end the process for another */
  accept(token: number): void {
    if (this.vocabulary.endsGeneration(token)) return;
    this.take(token);
    this.answer.push(token);
  }

  private take(token: number): void {
    this.bytes = this.bytes.after(this.vocabulary.piece(token, true))!;
    native().llama.samplerAccept(this.sampler, token);
  }

  [Symbol.dispose](): void {
    native().llama.samplerFree(this.sampler);
  }
}

/** How far a text of bytes has come that may end within a character: Unicode's table 3-7 of well-formed sequences. */
class Utf8 {
  constructor(
    private readonly missing = 0,
    private readonly from = 0x80,
    private readonly to = 0xbf,
  ) {}

  /** With these bytes added; undefined if they are no part of UTF-8. */
  after(bytes: Uint8Array): Utf8 | undefined {
    let { missing, from, to } = this;
    for (const byte of bytes) {
      if (missing > 0) {
        if (byte < from || byte > to) return undefined;
        missing--;
        [from, to] = [0x80, 0xbf];
      } else if (byte >= 0x80) {
        if (byte < 0xc2 || byte > 0xf4) return undefined;
        missing = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
        from = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
        to = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
      }
    }
    return new Utf8(missing, from, to);
  }
}

/** A chain of libllama's samplers, with a grammar or without. */
export class Sampler implements Disposable {
  private readonly chain: SamplerHandle;
  private readonly constraint: Constraint | undefined;
  private readonly candidates: Candidates | undefined;

  constructor(
    settings: SamplerSettings,
    private readonly vocabulary: Vocabulary,
    answer?: HeldAnswer,
  ) {
    const { llama } = native();
    const { repeatPenalty, frequencyPenalty = 0, presencePenalty = 0, topK = 0, minP = defaultMinP } = settings;
    const bias = settings.logitBias ?? [];
    const wrong = bias.find(([token]) => token >= vocabulary.size);
    if (wrong) {
      const expected = `one below ${vocabulary.size}`;
      throw new UsageError({ found: `the token ${wrong[0]}`, expected, where: 'logit_bias' });
    }
    const chain = llama.samplerChain({ no_perf: true });
    const add = (sampler: SamplerHandle) => llama.samplerAdd(chain, sampler);
    if (bias.length > 0) {
      const entries = bias.map(([token, value]) => ({ token, bias: value }));
      add(llama.samplerLogitBias(vocabulary.size, entries.length, entries));
    }
    if (repeatPenalty > 1 || frequencyPenalty !== 0 || presencePenalty !== 0) {
      add(llama.samplerPenalties(vocabulary.size, penaltyWindow, repeatPenalty, frequencyPenalty, presencePenalty));
    }
    if (settings.temperature === 0) {
      add(llama.samplerGreedy());
    } else {
      if (topK > 0) add(llama.samplerTopK(topK));
      add(llama.samplerTopP(settings.topP, 1));
      add(llama.samplerMinP(minP, 1));
      add(llama.samplerTemperature(settings.temperature));
      add(llama.samplerDist(settings.seed ?? Math.floor(Math.random() * 0x1_0000_0000)));
    }
    this.chain = chain;
    if (!answer) return;
    this.candidates = new Candidates(vocabulary.size);
    try {
      this.constraint = new Constraint(answer, vocabulary);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Draws from the logits of the last token that the context decoded.
   * @param left tokens that may be drawn yet, this one included
   * @throws LoamError if no token satisfies the grammar
   */
  draw(context: LlamaContext, left: number): number {
    const { llama } = native();
    const { constraint, candidates } = this;
    if (!constraint || !candidates) return llama.sample(this.chain, context.handle, -1);
    const token = this.drawHeld(context.lastLogits, left, { constraint, candidates });
    constraint.accept(token);
    llama.samplerAccept(this.chain, token);
    return token;
  }

  private drawHeld(
    logits: Float32Array,
    left: number,
    { constraint, candidates }: { constraint: Constraint; candidates: Candidates },
  ): number {
    const { answer } = constraint;
    const banned = new Set<number>();
    const tooLong: number[] = [];
    candidates.fill(logits);
    let token = candidates.apply(this.chain);
    for (;;) {
      // Most drawn tokens satisfy the grammar, and one is held against it far sooner than the whole vocabulary.
      if (constraint.allows(token)) {
        if (this.vocabulary.endsGeneration(token) || answer.leadsToEnd(token, left - 1)) return token;
        answer.isShortened = true;
        if (tooLong.push(token) === MOST_TOO_LONG) break;
      }
      if (banned.has(token)) throw new Error('a sampler drew a token that was ruled out');
      banned.add(token);
      candidates.fill(logits);
      for (const one of banned) candidates.ban(one);
      constraint.mask(candidates);
      if (!candidates.hasAny) break;
      token = candidates.apply(this.chain);
    }
    const { next } = answer;
    if (next !== undefined && constraint.allows(next)) return next;
    // Where no way to the end can be written, the answer is cut off.
    if (tooLong.length > 0) return tooLong[0]!;
    const found = "no token of the model's vocabulary goes on with the text as its form demands";
    throw new LoamError({ code: 'unsupported', found, fix: 'ask for another form, or another model' });
  }

  [Symbol.dispose](): void {
    this.constraint?.[Symbol.dispose]();
    native().llama.samplerFree(this.chain);
  }
}
