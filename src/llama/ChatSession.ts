import { type GgufBase, openBase } from '../adapters/base.js';
import { type Adapter, openAdapter, provenAdapter } from '../adapters/openAdapter.js';
import { LoamError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { type Grammar, HeldAnswer } from '../engine/HeldAnswer.js';
import type { ChatMessage, Tool } from '../model/chatTemplate.js';
import { Tokenizer } from '../model/tokenizer.js';
import type { ToolChoice } from '../model/toolForms/grammar.js';
import { type AnswerPart, AnswerReader, type Expected } from './AnswerReader.js';
import { type Likeliest, likeliest } from './answers/likeliest.js';
import { likelihoodOf, readLikelihoods } from './likelihood.js';
import { type AnswerPlan, formatGrammar, opensThought, planAnswer, promptOf, type TextPrompt } from './prompts.js';
import { type Embedded, type EmbeddingInput, embed } from './reading.js';
import { Session } from './Session.js';
import { penaltyOf, type Sampling } from './sampling.js';
import { Wardrobe, type Wish } from './Wardrobe.js';

/** @throws LoamError if not even the shortest answer of a form has room */
function requireRoom(
  held: HeldAnswer,
  { room, maxTokens, limit, tooLong }: { room: number; maxTokens: number; limit?: string; tooLong: TooLong },
): void {
  const shortest = held.lacks(room);
  if (shortest === undefined) return;
  if (room < maxTokens) throw tooLong(shortest);
  throw new LoamError({
    code: 'too-long',
    found: `a limit of ${room} tokens, and the shortest answer of the form that is asked for takes ${shortest}`,
    where: limit ?? 'max_tokens',
    fix: 'raise the limit',
  });
}

/** @param wanted tokens that must be left for the answer */
type TooLong = (wanted: number) => LoamError;

interface ChatSessionOptions {
  modelPath: string;
  /** Worn together, each with its correction multiplied by its strength (default 1). */
  adapters?: readonly { path: string; strength?: number }[];
  /** Tokens of conversation and answer together; default: what the model was trained for, at most 4096. */
  contextLength?: number;
  threads?: number;
}

export type ChatEvent =
  | AnswerPart
  /** Old turns were left out because the conversation outgrew the context. */
  | { type: 'forgot'; messages: number }
  /**
   * `turn`: the model ended its turn; `length`: no tokens are left; `stop`: a stop text came up, `stopText`. `isShortened`: what it is held
   * to was brought to its end since the tokens ran out.
   */
  | {
      type: 'end';
      reason: 'turn' | 'length' | 'stop';
      stopText?: string;
      isShortened?: boolean;
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
  /** Which of them; default: as the model likes. */
  calls?: ToolChoice;
  /** JSON, any object or the values of a JSON schema (its place is named in errors), and nothing else. */
  format?: 'json' | { schema: unknown; where?: string };
  /** Whether old turns are left out if the conversation outgrows the context (default), or a LoamError (too-long) is thrown. */
  forget?: boolean;
  show?: Shown;
  /** What the limit of tokens is called in errors; default: max_tokens. */
  limit?: string;
}

/** What is told of an answer beside its text. */
interface Shown {
  /** How likely each token was, and so many of the likeliest. */
  likeliest?: number;
  /** Thoughts by themselves, not as a part of the text. */
  thoughts?: boolean;
  /** The text that is gone on with, first. */
  prompt?: boolean;
}

/** How an answer is drawn and read. */
interface Drawing {
  sampling: Sampling;
  expected: Expected;
  grammar: Grammar | undefined;
  likeliest: number | undefined;
  limit: string | undefined;
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
    private readonly base: GgufBase,
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

  /** Those of the adapters, by default of its own, that a question is for; the bare base is left on. As `Wardrobe.suited` has it. */
  suited(question: string, wishes = this.own, signal?: AbortSignal): Promise<readonly Wish[]> {
    return this.wardrobe.suited(wishes, question, signal);
  }

  /** Vectors of texts, in what is worn. */
  embed(...[inputs, options]: [EmbeddingInput, Parameters<typeof embed>[2]?]): Promise<Embedded> {
    return embed(this.session, inputs, options);
  }

  /** Tokens of the prompt that a conversation becomes. */
  async count(messages: readonly ChatMessage[], { thinking, tools }: AnswerOptions = {}): Promise<number> {
    return (await this.tokenizer.prompt(messages, { thinking, tools })).length;
  }

  /** Streams the answer to a conversation; one whose last message is the assistant's is gone on with. Text arrives in whole characters. */
  answer(
    messages: readonly ChatMessage[],
    sampling: Sampling,
    signal?: AbortSignal,
    options: AnswerOptions = {},
  ): Run<ChatEvent, string> {
    return new Run(async (emit, signal) => {
      const { grammar, ...plan } = await planAnswer(this.tokenizer, messages, options);
      const { prompt, forgotten } = await this.fit(messages, sampling.maxTokens, { ...options, ...plan });
      if (forgotten > 0) emit({ type: 'forgot', messages: forgotten });
      const thought = plan.thought === 'may' && opensThought(this.tokenizer, prompt) ? 'begun' : plan.thought;
      const how = {
        sampling,
        expected: { ...plan, thought },
        grammar,
        likeliest: options.show?.likeliest,
        limit: options.limit,
      };
      return await this.generate(prompt, how, emit, signal);
    }, signal);
  }

  /** Streams what follows a text, which no template is put around. */
  complete(
    text: TextPrompt,
    sampling: Sampling,
    signal?: AbortSignal,
    { stop = [], show = {}, format, limit }: AnswerOptions = {},
  ): Run<ChatEvent, string> {
    return new Run(async (emit, signal) => {
      const { vocabulary } = this.tokenizer;
      const { prompt, given } = promptOf(vocabulary, text);
      const room = sampling.maxTokens === 0 ? 0 : 1;
      if (prompt.length + room > this.contextLength) throw this.promptTooLong(prompt.length, room);
      const { likeliest } = show;
      if (show.prompt) {
        const likelihoods =
          likeliest !== undefined && (await readLikelihoods(this.session, prompt, { likeliest, signal }));
        const own = typeof text === 'string' ? text : vocabulary.text(prompt.subarray(given), true);
        emit({ type: 'text', text: own, ...(likelihoods && { likelihoods: likelihoods.slice(given) }) });
      }
      const how = {
        sampling,
        expected: { stop, thought: 'no' as const },
        grammar: formatGrammar(format),
        likeliest,
        limit,
      };
      return await this.generate(prompt, how, emit, signal);
    }, signal);
  }

  /** Which of several endings of a prompt is the likeliest, for the adapter that is worn. */
  async likeliest(prompt: Int32Array, endings: readonly Int32Array[], signal?: AbortSignal): Promise<Likeliest> {
    return await likeliest(this.session, prompt, endings, signal);
  }

  private async generate(
    prompt: Int32Array,
    { sampling, expected, grammar, likeliest, limit }: Drawing,
    emit: (event: ChatEvent) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const started = performance.now();
    const { vocabulary } = this.tokenizer;
    const room = Math.min(sampling.maxTokens, this.contextLength - prompt.length);
    const reader = new AnswerReader(vocabulary, expected, emit);
    const held = grammar && room > 0 ? new HeldAnswer(grammar, vocabulary) : undefined;
    const tooLong: TooLong = (wanted) => this.promptTooLong(prompt.length, wanted);
    if (held) requireRoom(held, { room, maxTokens: sampling.maxTokens, limit, tooLong });
    let tokens = 0;
    if (room > 0) await this.session.read(prompt, [prompt.length - 1], { signal });
    const settings = { ...sampling, repeatPenalty: penaltyOf(sampling) };
    for await (const token of this.session.write(settings, room, { signal, held })) {
      tokens++;
      const likelihood =
        likeliest === undefined ? undefined : likelihoodOf(token, this.session.logits, { vocabulary, likeliest });
      reader.push(token, likelihood);
      if (reader.stopped !== undefined) break;
    }
    reader.end();
    const stopText = reader.stopped;
    const isCut = tokens >= room && !held?.isOver;
    const reason = stopText !== undefined ? 'stop' : isCut || held?.isShortened ? 'length' : 'turn';
    const seconds = (performance.now() - started) / 1000;
    const count = { tokens, promptTokens: prompt.length, seconds };
    const isShortened = held?.isShortened && { isShortened: true };
    emit({ type: 'end', reason, ...(stopText !== undefined && { stopText }), ...isShortened, ...count });
    return reader.text;
  }

  /** What is to be answered does not fit into the context. */
  private promptTooLong(tokens: number, wanted: number): LoamError {
    const trained = this.base.hyper.contextLength;
    const more =
      this.contextLength < trained
        ? `; the model was trained for ${trained} tokens, which loam chat --context gives it`
        : ', or use a model that was trained for more';
    return new LoamError({
      code: 'too-long',
      found: `a message of ${tokens} tokens`,
      expected: `at most ${this.contextLength - wanted}, which leaves room for an answer`,
      fix: `shorten the message${more}`,
    });
  }

  /** Leaves out the oldest turns, never the system message or the last question, until the prompt leaves room for an answer. */
  private async fit(
    messages: readonly ChatMessage[],
    maxTokens: number,
    { forget = true, thinking, tools, begun }: AnswerOptions & Pick<AnswerPlan, 'begun'>,
  ) {
    const wanted = Math.min(maxTokens, Math.floor(this.contextLength / 4));
    const system = messages[0]?.role === 'system' ? [messages[0]] : [];
    let turns = messages.slice(system.length, begun ? -1 : undefined);
    const before = turns.length;
    for (;;) {
      const head = await this.tokenizer.prompt([...system, ...turns], { thinking, tools });
      const prompt = begun ? Int32Array.from([...head, ...begun]) : head;
      if (prompt.length + wanted <= this.contextLength) return { prompt, forgotten: before - turns.length };
      if (!forget && prompt.length < this.contextLength) return { prompt, forgotten: 0 };
      // A question goes with all that answers it.
      const next = turns.findIndex(({ role }, i) => i > 0 && role === 'user');
      if (next < 0 || !forget) throw this.promptTooLong(prompt.length, wanted);
      turns = turns.slice(next);
    }
  }

  [Symbol.dispose](): void {
    this.session[Symbol.dispose]();
    this.tokenizer[Symbol.dispose]();
  }
}
