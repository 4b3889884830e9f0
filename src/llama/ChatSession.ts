import { type Base, openBase } from '../adapters/base.js';
import { type Adapter, openAdapter, provenAdapter } from '../adapters/openAdapter.js';
import { LoamError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { integer, number, type Schema, type Values } from '../base/options.js';
import type { SamplerSettings } from '../engine/sampler.js';
import type { ChatMessage, Tool } from '../model/chatTemplate.js';
import { Tokenizer } from '../model/tokenizer.js';
import { type Likeliest, likeliest } from './answers/likeliest.js';
import { type Embedded, type EmbeddingInput, embed } from './reading.js';
import { Session } from './Session.js';
import { Wardrobe, type Wish } from './Wardrobe.js';

/** What is to be answered does not fit into the context. */
function promptTooLong(tokens: number, most: number): LoamError {
  return new LoamError({
    code: 'too-long',
    found: `a message of ${tokens} tokens`,
    expected: `at most ${most}, which leaves room for an answer`,
    fix: 'shorten the message, or give the model a longer --context',
  });
}

/** Finds texts that end an answer in text that arrives piece by piece, and lets nothing of them through. */
export class StopText {
  private held = '';
  /** The text that came up. */
  found: string | undefined;

  constructor(private readonly stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop !== '');
  }

  /** @returns what may be shown: all that cannot be the beginning of a stop text */
  push(piece: string): string {
    let shown = '';
    // Character by character: what is found must not depend on where the pieces end.
    for (const character of piece) {
      if (this.found !== undefined) break;
      shown += this.next(character);
    }
    return shown;
  }

  private next(character: string): string {
    this.held += character;
    const ends = this.stops.filter((stop) => this.held.includes(stop));
    if (ends.length > 0) {
      const first = ends.reduce((a, b) => (this.held.indexOf(b) < this.held.indexOf(a) ? b : a));
      this.found = first;
      return this.held.slice(0, this.held.indexOf(first));
    }
    const keep = Math.max(0, ...this.stops.map((stop) => this.overlap(stop)));
    const shown = this.held.slice(0, this.held.length - keep);
    this.held = this.held.slice(this.held.length - keep);
    return shown;
  }

  /** The answer ended otherwise: what was held back. */
  end(): string {
    const rest = this.found === undefined ? this.held : '';
    this.held = '';
    return rest;
  }

  /** Characters at the end of what is held that begin `stop`. */
  private overlap(stop: string): number {
    for (let n = Math.min(stop.length - 1, this.held.length); n > 0; n--) {
      if (this.held.endsWith(stop.slice(0, n))) return n;
    }
    return 0;
  }
}

interface ChatSessionOptions {
  modelPath: string;
  /** Worn together, each with its correction multiplied by its strength (default 1). */
  adapters?: readonly { path: string; strength?: number }[];
  /** Tokens of conversation and answer together; default: what the model was trained for, at most 4096. */
  contextLength?: number;
  threads?: number;
}

export type ChatEvent =
  | { type: 'text'; text: string }
  /** Old turns were left out because the conversation outgrew the context. */
  | { type: 'forgot'; messages: number }
  /** `turn`: the model ended its turn; `length`: no tokens are left; `stop`: a stop text came up, `stopText`. */
  | {
      type: 'end';
      reason: 'turn' | 'length' | 'stop';
      stopText: string | undefined;
      tokens: number;
      promptTokens: number;
      seconds: number;
    };

export interface AnswerOptions {
  /** The answer ends before the first of these texts. */
  stop?: readonly string[];
  /** Whether the model is asked for a thought before its answer, where its template knows thoughts; undefined: as it learnt. */
  thinking?: boolean;
  /** Tools that the answer may call. */
  tools?: readonly Tool[];
  /** Whether old turns are left out if the conversation outgrows the context (default), or a LoamError (too-long) is thrown. */
  forget?: boolean;
}

const defaultContext = 4096;

/** A conversation with a model, base or adapted, in stock libllama. One answer at a time. */
export class ChatSession implements Disposable {
  private readonly wardrobe: Wardrobe;
  /** What it was opened with. */
  private own: readonly Wish[] = [];

  private constructor(
    private readonly session: Session,
    readonly tokenizer: Tokenizer,
    readonly adapters: readonly Adapter[],
    private readonly base: Base,
  ) {
    this.wardrobe = new Wardrobe(session, tokenizer);
  }

  /** Validates and loads all files. */
  static async open(options: ChatSessionOptions): Promise<ChatSession> {
    const base = await openBase(options.modelPath);
    const given = options.adapters ?? [];
    const adapters: Adapter[] = [];
    for (const { path } of given) adapters.push(await provenAdapter(path, base));
    const contextLength = Math.min(options.contextLength ?? defaultContext, base.hyper.contextLength);
    const tokenizer = await Tokenizer.open(base.gguf);
    let session: Session | undefined;
    try {
      session = await Session.open(options.modelPath, { contextLength, threads: options.threads });
      const chat = new ChatSession(session, tokenizer, adapters, base);
      for (const [i, adapter] of adapters.entries()) await chat.wardrobe.hang(`own ${i}`, adapter);
      chat.own = given.map(({ path, strength = 1 }, i) => ({
        name: `own ${i}`,
        strength,
        title: adapters[i]!.name || path,
      }));
      chat.setAdapted(true);
      return chat;
    } catch (error) {
      tokenizer[Symbol.dispose]();
      session?.[Symbol.dispose]();
      throw error;
    }
  }

  /** Tokens of conversation and answer together. */
  get contextLength(): number {
    return this.session.contextLength;
  }

  /** Switches the adapters that it was opened with off (the base model alone answers) or on again. */
  setAdapted(on: boolean): void {
    this.wear(on ? this.own : []);
  }

  /** Loads a further adapter under a name; its file may go afterwards. Throws LoamError for one that does not fit the model. */
  async addAdapter(name: string, path: string): Promise<void> {
    await this.wardrobe.hang(name, await openAdapter(path, this.base, { only: 'gguf' }));
  }

  dropAdapter(name: string): void {
    this.wardrobe.drop(name);
  }

  /** Answers from now on with these adapters, as `Wardrobe.wear` has it. */
  wear(wishes: readonly Wish[]): void {
    this.wardrobe.wear(wishes);
  }

  /** Vectors of texts, in what is worn. */
  embed(...[inputs, options]: [EmbeddingInput, Parameters<typeof embed>[2]?]): Promise<Embedded> {
    return embed(this.session, inputs, options);
  }

  /** Tokens of the prompt that a conversation becomes. */
  async count(messages: readonly ChatMessage[], { thinking, tools }: AnswerOptions = {}): Promise<number> {
    return (await this.tokenizer.prompt(messages, { thinking, tools })).length;
  }

  /** Streams the answer to a conversation whose last message is the user's. Text arrives in whole characters. */
  answer(
    messages: readonly ChatMessage[],
    sampling: Sampling,
    signal?: AbortSignal,
    options: AnswerOptions = {},
  ): Run<ChatEvent, string> {
    return new Run(async (emit, signal) => {
      const { prompt, forgotten } = await this.fit(messages, sampling.maxTokens, options);
      if (forgotten > 0) emit({ type: 'forgot', messages: forgotten });
      return await this.generate(prompt, { sampling, stop: options.stop ?? [] }, emit, signal);
    }, signal);
  }

  /** Streams what follows a text, which no template is put around. */
  complete(
    text: string,
    sampling: Sampling,
    signal?: AbortSignal,
    options: AnswerOptions = {},
  ): Run<ChatEvent, string> {
    return new Run(async (emit, signal) => {
      const { bos, eos } = this.tokenizer.vocabulary;
      const bosText = bos >= 0 ? this.tokenizer.vocabulary.text([bos], true) : '';
      // The whole prompt is the client's, control tokens and all.
      const begins = bosText !== '' && text.startsWith(bosText);
      const tokens = this.tokenizer.vocabulary.tokenize(text, { special: true, bos: !begins });
      // Something must be read before a first token can be drawn.
      const prompt = tokens.length > 0 ? tokens : Int32Array.of(bos >= 0 ? bos : Math.max(0, eos));
      if (prompt.length >= this.contextLength) throw promptTooLong(prompt.length, this.contextLength - 1);
      return await this.generate(prompt, { sampling, stop: options.stop ?? [] }, emit, signal);
    }, signal);
  }

  /** Which of several endings of a prompt is the likeliest, for the adapter that is worn. */
  async likeliest(prompt: Int32Array, endings: readonly Int32Array[], signal?: AbortSignal): Promise<Likeliest> {
    return await likeliest(this.session, prompt, endings, signal);
  }

  private async generate(
    prompt: Int32Array,
    { sampling, stop }: { sampling: Sampling; stop: readonly string[] },
    emit: (event: ChatEvent) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const started = performance.now();
    await this.session.read(prompt, [prompt.length - 1], { signal });
    const decoder = new TextDecoder();
    const stopping = new StopText(stop);
    let answer = '';
    let tokens = 0;
    const room = Math.min(sampling.maxTokens, this.contextLength - prompt.length);
    for await (const token of this.session.write({ ...sampling, repeatPenalty: penaltyOf(sampling) }, room, {
      signal,
    })) {
      tokens++;
      const text = stopping.push(decoder.decode(this.tokenizer.vocabulary.piece(token), { stream: true }));
      answer += text;
      if (text) emit({ type: 'text', text });
      if (stopping.found !== undefined) break;
    }
    const { found } = stopping;
    const reason = found !== undefined ? 'stop' : tokens >= room ? 'length' : 'turn';
    const rest = found !== undefined ? '' : stopping.push(decoder.decode()) + stopping.end();
    if (rest) emit({ type: 'text', text: rest });
    const seconds = (performance.now() - started) / 1000;
    emit({ type: 'end', reason, stopText: found, tokens, promptTokens: prompt.length, seconds });
    return answer + rest;
  }

  /** Leaves out the oldest turns, never the system message or the last question, until the prompt leaves room for an answer. */
  private async fit(
    messages: readonly ChatMessage[],
    maxTokens: number,
    { forget = true, thinking, tools }: AnswerOptions,
  ) {
    const wanted = Math.min(maxTokens, Math.floor(this.contextLength / 4));
    const system = messages[0]?.role === 'system' ? [messages[0]] : [];
    let turns = messages.slice(system.length);
    const before = turns.length;
    for (;;) {
      const prompt = await this.tokenizer.prompt([...system, ...turns], { thinking, tools });
      if (prompt.length + wanted <= this.contextLength) return { prompt, forgotten: before - turns.length };
      if (!forget && prompt.length < this.contextLength) return { prompt, forgotten: 0 };
      if (turns.length <= 2 || !forget) throw promptTooLong(prompt.length, this.contextLength - wanted);
      turns = turns.slice(2);
    }
  }

  [Symbol.dispose](): void {
    this.session[Symbol.dispose]();
    this.tokenizer[Symbol.dispose]();
  }
}

/** How the next token is drawn; the same names as in llama.cpp and in the OpenAI API. */
export const samplingOptions = {
  temperature: number([0, 5], 'Randomness of answers; 0 always takes the likeliest token.', { default: 0.7 }),
  topP: number([0, 1], 'Draw from the likeliest tokens that together have this probability.', { default: 0.9 }),
  repeatPenalty: number(
    [1, 2],
    'Make the last 64 tokens less likely to be repeated; 1 is off. Default: 1.05, and off at temperature 0.',
  ),
  seed: integer([0, 0xffffffff], 'Make answers repeatable.'),
  maxTokens: integer([1, 100_000], 'End an answer after this many tokens.', { default: 512 }),
} as const satisfies Schema;

export type Sampling = Values<typeof samplingOptions> &
  Pick<SamplerSettings, 'topK' | 'minP' | 'frequencyPenalty' | 'presencePenalty'>;

/** Without a penalty of its own an answer that is drawn repeats itself a little less; the likeliest one is the likeliest. */
function penaltyOf({ repeatPenalty, temperature }: Sampling): number {
  return repeatPenalty ?? (temperature === 0 ? 1 : 1.05);
}
