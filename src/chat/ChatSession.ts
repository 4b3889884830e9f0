import { type Adapter, type Base, readAdapter } from '../adapter/readAdapter.js';
import type { LlamaContext } from '../ggml/llamaContext.js';
import { LlamaModel } from '../ggml/llamaModel.js';
import type { AdapterHandle } from '../ggml/native.js';
import { Sampler } from '../ggml/sampler.js';
import { readGguf } from '../gguf/readGguf.js';
import type { ChatMessage } from '../model/chatTemplate.js';
import { readHyperparameters } from '../model/hyperparameters.js';
import { Tokenizer } from '../model/tokenizer.js';
import { throwIfStopped } from '../util/errors.js';
import { sharedLength } from '../util/sharedLength.js';
import { PromptTooLongError } from './PromptTooLongError.js';
import { StopText } from './StopText.js';
import type { Sampling } from './sampling.js';

export interface ChatSessionOptions {
  modelPath: string;
  adapterPath?: string;
  /** Tokens of conversation and answer together; default: what the model was trained for, at most 4096. */
  contextLength?: number;
  threads?: number;
}

export type ChatEvent =
  | { type: 'text'; text: string }
  /** Old turns were left out because the conversation outgrew the context. */
  | { type: 'forgot'; messages: number }
  /** `turn`: the model ended its turn; `length`: no tokens are left; `stop`: a stop text came up. */
  | { type: 'end'; reason: 'turn' | 'length' | 'stop'; tokens: number; promptTokens: number; seconds: number };

export interface AnswerOptions {
  /** The answer ends before the first of these texts. */
  stop?: readonly string[];
  /** Whether old turns are left out where the conversation outgrows the context (default), or PromptTooLongError is thrown. */
  forget?: boolean;
}

const defaultContext = 4096;
/** Name of the adapter that a session was opened with. */
const OWN = 'own';

/** A conversation with a model, base or adapted, in stock libllama. One answer at a time. */
export class ChatSession implements Disposable {
  /** Tokens that the context holds, so that a continued conversation is not read again. */
  private held: number[] = [];
  private readonly wardrobe = new Map<string, AdapterHandle>();
  private worn: string | undefined;

  private constructor(
    private readonly model: LlamaModel,
    private readonly context: LlamaContext,
    readonly tokenizer: Tokenizer,
    readonly contextLength: number,
    readonly adapter: Adapter | undefined,
    private readonly base: Base,
  ) {}

  /** Validates and loads both files. */
  static async open(options: ChatSessionOptions): Promise<ChatSession> {
    const gguf = await readGguf(options.modelPath);
    const hyper = readHyperparameters(gguf);
    const adapter =
      options.adapterPath === undefined ? undefined : await readAdapter(options.adapterPath, { gguf, hyper });
    const tokenizer = await Tokenizer.open(gguf);
    const model = await LlamaModel.load(options.modelPath);
    try {
      const length = Math.min(options.contextLength ?? defaultContext, hyper.contextLength);
      const context = await model.context({ contextLength: length, threads: options.threads });
      const session = new ChatSession(model, context, tokenizer, length, adapter, { gguf, hyper });
      if (adapter) {
        session.wardrobe.set(OWN, await model.loadAdapter(adapter.path));
        session.wear(OWN);
      }
      return session;
    } catch (error) {
      tokenizer[Symbol.dispose]();
      model[Symbol.dispose]();
      throw error;
    }
  }

  /** Switches the adapter off (the bare base answers) or on again. */
  setAdapted(on: boolean): void {
    this.wear(on && this.adapter ? OWN : undefined);
  }

  /** Loads a further adapter under a name; its file may go afterwards. Throws LoamError for one that does not fit the model. */
  async addAdapter(name: string, path: string): Promise<void> {
    await readAdapter(path, this.base);
    const handle = await this.model.loadAdapter(path);
    this.dropAdapter(name);
    this.wardrobe.set(name, handle);
  }

  dropAdapter(name: string): void {
    const handle = this.wardrobe.get(name);
    if (handle === undefined) return;
    if (this.worn === name) this.wear(undefined);
    this.wardrobe.delete(name);
    this.model.freeAdapter(handle);
  }

  /** Answers from now on with this adapter; undefined: the bare base. */
  wear(name: string | undefined): void {
    if (name === this.worn) return;
    const handle = name === undefined ? undefined : this.wardrobe.get(name);
    this.context.setAdapters(handle === undefined ? [] : [{ adapter: handle, scale: 1 }]);
    this.worn = handle === undefined ? undefined : name;
    this.held = [];
  }

  /** Streams the answer to a conversation whose last message is the user's. Text arrives in whole characters. */
  async *answer(
    messages: readonly ChatMessage[],
    sampling: Sampling,
    signal?: AbortSignal,
    options: AnswerOptions = {},
  ): AsyncGenerator<ChatEvent, string, void> {
    const { prompt, forgotten } = await this.fit(messages, sampling.maxTokens, options.forget ?? true);
    if (forgotten > 0) yield { type: 'forgot', messages: forgotten };
    return yield* this.generate(prompt, sampling, signal, options);
  }

  /** Streams what follows a text, which no template is put around. */
  async *complete(
    text: string,
    sampling: Sampling,
    signal?: AbortSignal,
    options: AnswerOptions = {},
  ): AsyncGenerator<ChatEvent, string, void> {
    const tokens = this.tokenizer.vocabulary.tokenize(text, { special: false, bos: true });
    const { bos, eos } = this.tokenizer.vocabulary;
    // Something must be read before a first token can be drawn.
    const prompt = tokens.length > 0 ? tokens : Int32Array.of(bos >= 0 ? bos : Math.max(0, eos));
    if (prompt.length >= this.contextLength) throw new PromptTooLongError(prompt.length, this.contextLength - 1);
    return yield* this.generate(prompt, sampling, signal, options);
  }

  private async *generate(
    prompt: Int32Array,
    sampling: Sampling,
    signal: AbortSignal | undefined,
    options: AnswerOptions,
  ): AsyncGenerator<ChatEvent, string, void> {
    const started = performance.now();
    await this.read(prompt, signal);
    using sampler = new Sampler(sampling, this.tokenizer.vocabulary.size);
    const decoder = new TextDecoder();
    const stopping = new StopText(options.stop ?? []);
    let answer = '';
    let tokens = 0;
    let reason: 'turn' | 'length' | 'stop' = 'length';
    const room = Math.min(sampling.maxTokens, this.contextLength - prompt.length);
    while (tokens < room) {
      throwIfStopped(signal);
      const token = sampler.draw(this.context);
      if (this.tokenizer.vocabulary.endsGeneration(token)) {
        reason = 'turn';
        break;
      }
      tokens++;
      const text = stopping.push(decoder.decode(this.tokenizer.vocabulary.piece(token), { stream: true }));
      answer += text;
      if (text) yield { type: 'text', text };
      if (stopping.found) {
        reason = 'stop';
        break;
      }
      if (tokens === room) break;
      const position = this.held.length;
      await this.context.decode(Int32Array.of(token), position, { wants: () => true, signal });
      this.held.push(token);
    }
    const rest = stopping.found ? '' : stopping.push(decoder.decode()) + stopping.end();
    if (rest) yield { type: 'text', text: rest };
    const seconds = (performance.now() - started) / 1000;
    yield { type: 'end', reason, tokens, promptTokens: prompt.length, seconds };
    return answer + rest;
  }

  /** Leaves out the oldest turns, never the system message or the last question, until the prompt leaves room for an answer. */
  private async fit(messages: readonly ChatMessage[], maxTokens: number, forget: boolean) {
    const wanted = Math.min(maxTokens, Math.floor(this.contextLength / 4));
    const system = messages[0]?.role === 'system' ? [messages[0]] : [];
    let turns = messages.slice(system.length);
    const before = turns.length;
    for (;;) {
      const prompt = await this.tokenizer.prompt([...system, ...turns]);
      if (prompt.length + wanted <= this.contextLength) return { prompt, forgotten: before - turns.length };
      if (!forget && prompt.length < this.contextLength) return { prompt, forgotten: 0 };
      if (turns.length <= 2 || !forget) throw new PromptTooLongError(prompt.length, this.contextLength - wanted);
      turns = turns.slice(2);
    }
  }

  /** Reads what of the prompt the context does not hold yet, at least its last token, whose logits come next. */
  private async read(prompt: Int32Array, signal?: AbortSignal): Promise<void> {
    let shared = sharedLength(this.held, prompt.subarray(0, -1));
    if (!this.context.truncate(shared)) shared = 0;
    // Until the read has succeeded nothing is known of what the context holds beyond the shared part.
    this.held.length = shared;
    const last = prompt.length - shared - 1;
    await this.context.decode(prompt.slice(shared), shared, { wants: (index) => index === last, signal });
    this.held = [...prompt];
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
    this.tokenizer[Symbol.dispose]();
  }
}
