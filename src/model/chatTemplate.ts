import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { afterAwake, afterWork, startChild } from '../base/child.js';
import { LoamError } from '../base/errors.js';
import { count } from '../base/format.js';
import { Mutex } from '../base/lock.js';
import { programPath } from '../base/package.js';
import type { ChatMessage, Tool } from './message.js';
import {
  charactersOf,
  findEnding,
  findThoughtField,
  findToolUse,
  forTemplate,
  hasCalls,
  hasReasoning,
  type TemplateInput,
  type ThoughtField,
  type ToolUse,
} from './toolTemplate.js';

export type { ChatMessage, Tool, ToolCall } from './message.js';

/** What a template is told beside the messages. */
export interface RenderOptions {
  /** As `enable_thinking`; undefined: nothing, so it does as it likes. */
  thinking?: boolean;
  /** Instead of the template's own day. */
  day?: string;
  /** Tools that the conversation may call. */
  tools?: readonly Tool[];
}

export interface TemplateSetup {
  source: string;
  tokens: { bos: string; eos: string };
  timeoutMs: number;
}
export interface RenderRequest {
  id: number;
  input: TemplateInput;
  addGenerationPrompt: boolean;
  thinking: boolean | undefined;
  /** Characters that it may write. */
  most: number;
  day: string | undefined;
}
export type RenderResponse =
  | { state: 'parsing' | 'ready' }
  | { failed: string }
  | { id: number; text: string }
  | { id: number; error: string };

/** A template takes well under a millisecond; one that works for this long loops. */
const renderTimeoutMs = 2000;
/** For the process to start, before the template is looked at. */
const startTimeoutMs = 30_000;
/** Twice the largest example that `examples/` accepts. */
const maxCharacters = 4_000_000;
/** Characters that a template may write beside those of the messages. */
const maxAdded = 1 << 20;
/** Published templates reach 100,000 characters. */
const maxSource = 1 << 20;
/** For the largest conversation, several times. */
const maxHeapMb = 128;
/** The process is ended when nothing has been rendered for so long: it holds 40 MB, and starts again in a twentieth of a second. */
const idleMs = 10_000;

/** ChatML, which llama.cpp assumes where a model file names no template. */
export const fallbackTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * For a vocabulary without the tokens of a chat: headings, as base models are usually tuned (Alpaca, Taori et al. 2023), and the token that
 * ends a text.
 */
export const plainTemplate =
  "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}" +
  "{% elif message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n' }}" +
  "{% else %}{{ '### Response:\n' + message['content'] + eos_token + '\n\n' }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}";

const program = programPath('model/chatTemplateWorker.js');

/**
 * A model's chat template, rendered by the Jinja interpreter in a process of its own with bounded time, memory and output: a template is a
 * program from a stranger, and costs one refusal at most.
 */
export class ChatTemplate implements Disposable {
  /** sha256 of the template's text, hex: adapters record it, because an adapter is only right under the template it learnt. */
  readonly hash: string;
  /** The day that the template is told, as YYYY-MM-DD; undefined for now. A run and what measures its adapter set one. */
  day: string | undefined;
  private child: ChildProcess | undefined;
  private readonly turn = new Mutex();
  private nextId = 0;
  private idle: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    readonly source: string,
    readonly tokensText: { bos: string; eos: string },
    private readonly where: string,
    private readonly timeoutMs = renderTimeoutMs,
  ) {
    this.hash = createHash('sha256').update(source).digest('hex');
  }

  /** Whether it knows thoughts before answers. */
  get knowsThoughts(): boolean {
    return this.source.includes('think');
  }

  /** Whether what it writes depends on the day: all that templates know of the clock is this function. */
  get writesDay(): boolean {
    return this.source.includes('strftime_now');
  }

  /** The rendered conversation, ended by the prompt for an answer where `addGenerationPrompt`. */
  async render(
    messages: readonly ChatMessage[],
    addGenerationPrompt: boolean,
    options: RenderOptions = {},
  ): Promise<string> {
    const { thinking, tools, day = this.day } = options;
    const characters = charactersOf(messages, tools);
    if (characters > maxCharacters) {
      const found = `a conversation of ${count(characters)} characters`;
      throw new LoamError({ code: 'too-large', found, expected: `at most ${count(maxCharacters)}` });
    }
    const input = await this.inputOf(messages, tools);
    return await this.write({ input, addGenerationPrompt, thinking, day, most: characters + maxAdded });
  }

  private async inputOf(messages: readonly ChatMessage[], tools: readonly Tool[] = []): Promise<TemplateInput> {
    const isPlain = tools.length === 0 && !hasCalls(messages);
    if (isPlain && !hasReasoning(messages))
      return { messages: messages as unknown as TemplateInput['messages'], tools: null };
    const use = isPlain ? undefined : await this.toolUse();
    const thought = hasReasoning(messages) ? await this.thoughtField() : undefined;
    return forTemplate({ messages, tools }, this.source, { use, thought });
  }

  private uses: Promise<ToolUse> | undefined;
  private thoughts: Promise<ThoughtField | undefined> | undefined;
  private endings: Promise<string> | undefined;
  private readonly probe = (input: TemplateInput, addGenerationPrompt: boolean) =>
    this.write({ input, addGenerationPrompt, thinking: undefined, day: this.day, most: maxAdded });

  /** How it is told of tools, and how its models call them. */
  toolUse(): Promise<ToolUse> {
    this.uses ??= findToolUse(this.source, this.probe);
    return this.uses;
  }

  /** The field under which it looks for a thought; undefined where one stands in the content. */
  thoughtField(): Promise<ThoughtField | undefined> {
    this.thoughts ??= findThoughtField(this.source, this.probe);
    return this.thoughts;
  }

  /** What it writes behind an answer. */
  ending(): Promise<string> {
    this.endings ??= findEnding(this.probe);
    return this.endings;
  }

  private async write(request: Omit<RenderRequest, 'id'>): Promise<string> {
    return await this.turn.run(async () => {
      clearTimeout(this.idle);
      const child = this.child ?? (await this.start());
      const id = this.nextId++;
      const response = await this.ask(child, { id, ...request }, `it ran longer than ${this.timeoutMs / 1000} s`);
      this.idle = setTimeout(() => this.end(), idleMs).unref();
      if ('text' in response && response.id === id) return response.text;
      throw this.error('error' in response ? response.error : 'it answered out of turn');
    });
  }

  /** Starts the process and has it read the template. */
  private async start(): Promise<ChildProcess> {
    if (this.source.length > maxSource) {
      throw this.error(`it has ${count(this.source.length)} characters, expected at most ${count(maxSource)}`);
    }
    if (this.closed) throw this.error('it was closed');
    const child = startChild(program, {
      kind: 'trial',
      flags: [
        `--max-old-space-size=${maxHeapMb}`,
        '--max-semi-space-size=8',
        '--disallow-code-generation-from-strings',
      ],
    });
    this.child = child;
    // Idle, it does not keep this process alive; the limit of time does while something is rendered.
    child.unref();
    child.channel?.unref();
    child.once('error', () => this.end());
    const { source, tokensText: tokens, timeoutMs } = this;
    const late = 'the process for it did not start';
    const response = await this.ask(child, { source, tokens, timeoutMs }, late, startTimeoutMs);
    if ('failed' in response) {
      this.end();
      throw this.error(response.failed);
    }
    return child;
  }

  /** The process's answer. One that takes too long, or takes too much memory and dies of it, is ended. */
  private async ask(
    child: ChildProcess,
    request: TemplateSetup | RenderRequest,
    late: string,
    startMs?: number,
  ): Promise<RenderResponse> {
    const listeners = new AbortController();
    const { signal } = listeners;
    let endWait = () => {};
    try {
      return await new Promise((resolve, reject) => {
        const fail = (reason: string) => {
          this.end();
          reject(this.error(reason));
        };
        const hear = (response: RenderResponse) => {
          if (!('state' in response) || response.state === 'ready') return resolve(response);
          endWait();
          endWait = afterWork(child, this.timeoutMs, () =>
            fail(`it took longer than ${this.timeoutMs / 1000} s to parse`),
          );
        };
        const closed = () => fail(this.closed ? 'it was closed' : `it needed more than ${maxHeapMb} MB of memory`);
        child.on('message', hear).once('close', closed);
        signal.addEventListener('abort', () => child.off('message', hear).off('close', closed));
        endWait =
          startMs === undefined
            ? afterWork(child, this.timeoutMs, () => fail(late))
            : afterAwake(startMs, () => fail(late));
        child.send(request, () => {});
      });
    } finally {
      endWait();
      listeners.abort();
    }
  }

  /** Ends the process. The next render starts a new one. */
  private end(): void {
    clearTimeout(this.idle);
    this.child?.kill('SIGKILL');
    this.child = undefined;
  }

  private error(reason: string): LoamError {
    return new LoamError({
      code: 'template',
      // A template may raise what it likes, and a message goes to a terminal.
      found: `the model's chat template failed: ${reason.slice(0, 300).replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')}`,
      where: this.where,
      fix: 'use a model whose template llama.cpp renders, or report this model',
    });
  }

  [Symbol.dispose](): void {
    this.closed = true;
    this.end();
  }
}
