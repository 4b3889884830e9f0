import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { LoamError } from '../base/errors.js';

/** One turn, as templates read it. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
  /** `false` on an answer that is read but not learnt. */
  train?: false;
}

export interface TemplateSetup {
  source: string;
  tokens: { bos: string; eos: string };
  maxCharacters: number;
}
export interface RenderRequest {
  id: number;
  messages: readonly ChatMessage[];
  addGenerationPrompt: boolean;
  day: string | undefined;
}
export type RenderResponse =
  | { ready: true }
  | { failed: string }
  | { id: number; text: string }
  | { id: number; error: string };

/** A template takes well under a millisecond; one that needs this long loops. */
const renderTimeoutMs = 5000;
/** Twice the largest example that `data/` accepts. */
const maxCharacters = 4_000_000;
const maxHeapMb = 256;

/** ChatML, which llama.cpp assumes where a model file names no template. */
export const fallbackTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

interface Waiting {
  resolve(text: string): void;
  reject(error: unknown): void;
  timer: NodeJS.Timeout;
}

/** A model's chat template, rendered by the Jinja interpreter in a worker thread with bounded time, memory and output. */
export class ChatTemplate implements Disposable {
  /** sha256 of the template's text, hex: adapters record it, because an adapter is only right under the template it learnt. */
  readonly hash: string;
  /** The day that the template is told, as YYYY-MM-DD; undefined for now. A run and what measures its adapter set one. */
  day: string | undefined;
  private worker: Worker | undefined;
  private ready: Promise<void> | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 0;

  constructor(
    readonly source: string,
    readonly tokensText: { bos: string; eos: string },
    private readonly where: string,
    private readonly timeoutMs = renderTimeoutMs,
  ) {
    this.hash = createHash('sha256').update(source).digest('hex');
  }

  /** Whether what it writes depends on the day: all that templates know of the clock is this function. */
  get writesDay(): boolean {
    return this.source.includes('strftime_now');
  }

  /** The rendered conversation, ended by the prompt for an answer where `addGenerationPrompt`. */
  async render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): Promise<string> {
    this.ready ??= this.start();
    await this.ready;
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(`it ran longer than ${this.timeoutMs / 1000} s`), this.timeoutMs);
      this.waiting.set(id, { resolve, reject, timer });
      this.worker!.postMessage({ id, messages, addGenerationPrompt, day: this.day } satisfies RenderRequest);
    });
  }

  private start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL('./chatTemplateWorker.js', import.meta.url), {
        workerData: { source: this.source, tokens: this.tokensText, maxCharacters } satisfies TemplateSetup,
        resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
        // The template must see nothing of this process.
        env: {},
        stdin: false,
      });
      this.worker = worker;
      worker.unref();
      const timer = setTimeout(() => {
        reject(this.error(`it took longer than ${this.timeoutMs / 1000} s to parse`));
        void worker.terminate();
      }, this.timeoutMs);
      worker.on('message', (response: RenderResponse) => {
        clearTimeout(timer);
        if ('ready' in response) resolve();
        else if ('failed' in response) reject(this.error(response.failed));
        else this.settle(response);
      });
      worker.on('error', (error) => {
        clearTimeout(timer);
        reject(this.error(error.message));
        this.fail(error.message);
      });
    });
  }

  private settle(response: { id: number; text: string } | { id: number; error: string }): void {
    const waiting = this.waiting.get(response.id);
    if (!waiting) return;
    this.waiting.delete(response.id);
    clearTimeout(waiting.timer);
    if ('text' in response) waiting.resolve(response.text);
    else waiting.reject(this.error(response.error));
  }

  /** Ends the worker and everything that waits for it. The next render starts a new one. */
  private fail(reason: string): void {
    const worker = this.worker;
    this.worker = undefined;
    this.ready = undefined;
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(this.error(reason));
    }
    this.waiting.clear();
    void worker?.terminate();
  }

  private error(reason: string): LoamError {
    return new LoamError({
      code: 'template',
      found: `the model's chat template failed: ${reason}`,
      where: this.where,
      fix: 'use a model whose template llama.cpp renders, or report this model',
    });
  }

  [Symbol.dispose](): void {
    this.fail('it was closed');
  }
}
