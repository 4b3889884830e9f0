import { type Adapter, readAdapter } from '../adapter/readAdapter.js';
import type { LlamaContext } from '../ggml/llamaContext.js';
import { LlamaModel } from '../ggml/llamaModel.js';
import { Sampler } from '../ggml/sampler.js';
import { readGguf } from '../gguf/readGguf.js';
import type { ChatMessage } from '../model/chatTemplate.js';
import { readHyperparameters } from '../model/hyperparameters.js';
import { Tokenizer } from '../model/tokenizer.js';
import { LoamError, throwIfStopped } from '../util/errors.js';
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
  | { type: 'end'; reason: 'turn' | 'length'; tokens: number; promptTokens: number; seconds: number };

const defaultContext = 4096;

/** A conversation with a model, base or adapted, in stock libllama. One answer at a time. */
export class ChatSession implements Disposable {
  /** Tokens that the context holds, so that a continued conversation is not read again. */
  private held: number[] = [];

  private constructor(
    private readonly model: LlamaModel,
    private readonly context: LlamaContext,
    readonly tokenizer: Tokenizer,
    readonly contextLength: number,
    readonly adapter: Adapter | undefined,
    private readonly useAdapter: (on: boolean) => void,
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
      const handle = adapter === undefined ? undefined : await model.loadAdapter(adapter.path);
      const useAdapter = (on: boolean) =>
        context.setAdapters(on && handle !== undefined ? [{ adapter: handle, scale: 1 }] : []);
      useAdapter(true);
      return new ChatSession(model, context, tokenizer, length, adapter, useAdapter);
    } catch (error) {
      tokenizer[Symbol.dispose]();
      model[Symbol.dispose]();
      throw error;
    }
  }

  /** Switches the adapter off (the bare base answers) or on again. */
  setAdapted(on: boolean): void {
    this.useAdapter(on);
    this.held = [];
  }

  /** Streams the answer to a conversation whose last message is the user's. Text arrives in whole characters. */
  async *answer(
    messages: readonly ChatMessage[],
    sampling: Sampling,
    signal?: AbortSignal,
  ): AsyncGenerator<ChatEvent, string, void> {
    const started = performance.now();
    const { prompt, forgotten } = await this.fit(messages, sampling.maxTokens);
    if (forgotten > 0) yield { type: 'forgot', messages: forgotten };
    await this.read(prompt, signal);
    using sampler = new Sampler(sampling, this.tokenizer.vocabulary.size);
    const decoder = new TextDecoder();
    let answer = '';
    let tokens = 0;
    let reason: 'turn' | 'length' = 'length';
    const room = Math.min(sampling.maxTokens, this.contextLength - prompt.length);
    while (tokens < room) {
      throwIfStopped(signal);
      const token = sampler.draw(this.context);
      if (this.tokenizer.vocabulary.endsGeneration(token)) {
        reason = 'turn';
        break;
      }
      tokens++;
      const text = decoder.decode(this.tokenizer.vocabulary.piece(token), { stream: true });
      answer += text;
      if (text) yield { type: 'text', text };
      if (tokens === room) break;
      const position = this.held.length;
      await this.context.decode(Int32Array.of(token), position, { wants: () => true, signal });
      this.held.push(token);
    }
    const rest = decoder.decode();
    if (rest) yield { type: 'text', text: rest };
    const seconds = (performance.now() - started) / 1000;
    yield { type: 'end', reason, tokens, promptTokens: prompt.length, seconds };
    return answer + rest;
  }

  /** Leaves out the oldest turns, never the system message or the last question, until the prompt leaves room for an answer. */
  private async fit(messages: readonly ChatMessage[], maxTokens: number) {
    const wanted = Math.min(maxTokens, Math.floor(this.contextLength / 4));
    const system = messages[0]?.role === 'system' ? [messages[0]] : [];
    let turns = messages.slice(system.length);
    const before = turns.length;
    for (;;) {
      const prompt = await this.tokenizer.prompt([...system, ...turns]);
      if (prompt.length + wanted <= this.contextLength) return { prompt, forgotten: before - turns.length };
      if (turns.length <= 2) {
        throw new LoamError({
          found: `a message of ${prompt.length} tokens`,
          expected: `at most ${this.contextLength - wanted}, which leaves room for an answer`,
          fix: 'shorten the message, or give the model a longer --context',
        });
      }
      turns = turns.slice(2);
    }
  }

  /** Reads what of the prompt the context does not hold yet, at least its last token, whose logits come next. */
  private async read(prompt: Int32Array, signal?: AbortSignal): Promise<void> {
    let shared = 0;
    while (shared < prompt.length - 1 && shared < this.held.length && this.held[shared] === prompt[shared]) shared++;
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
