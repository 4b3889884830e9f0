import { stat } from 'node:fs/promises';
import { LoamError, throwIfStopped } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { Mutex } from '../../base/lock.js';
import { programPath } from '../../base/package.js';
import type { ExamplePreview, PreviewRequest } from '../../examples/preview.js';
import type { AnswerOptions, ChatEvent } from '../../llama/ChatSession.js';
import type { TextPrompt } from '../../llama/prompts.js';
import type { Embedded, EmbeddingInput, TokenRequest } from '../../llama/reading.js';
import type { Sampling } from '../../llama/sampling.js';
import type { Wish } from '../../llama/Wardrobe.js';
import type { ChatMessage, Tool } from '../../model/chatTemplate.js';
import { charactersOf as charactersIn } from '../../model/toolTemplate.js';
import type { ResolvedModel } from '../../models/listModels.js';
import type { Lineage } from '../../store/types.js';
import { WorkerProcess } from '../worker.js';

const program = programPath('serve/inference/inferenceWorker.js');

/** Milliseconds without a request after which the process ends and its memory is free; starting again takes about a second. */
const IDLE_MS = 5 * 60_000;
/** Milliseconds that a stopped answer may take to end: an operation of the graph. */
const STOP_MS = 10_000;

/** Milliseconds without a sign of life after which the process hangs: nothing that it does holds up its event loop for longer. */
const LIFE_MS = 15_000;
/** Milliseconds that an answer may take to begin, for a model and a prompt of no size; and from one piece to the next. */
const BEGIN_MS = 60_000;
const NEXT_MS = 120_000;
/** Bytes that the slowest card reads in a millisecond; what the slowest phone takes for a character of a prompt, and to look at an example. */
const BYTES_PER_MS = 10_000;
const MS_PER_CHARACTER = 50;
const MS_PER_EXAMPLE = 50;

/** Who is asked. */
interface Who {
  /** A base model by the path of its GGUF file, and how long a context it gets. */
  model: { path: string; contextLength?: number };
  /** Adapters to wear; their files are asked for by name if they are not held. None: the bare base. */
  adapters?: readonly Wish[];
}

export interface InferenceRequest extends Who {
  /** A conversation whose last message is the user's, or a text to go on with. */
  prompt: readonly ChatMessage[] | TextPrompt;
  sampling: Sampling;
  options?: AnswerOptions;
}

interface EmbedRequest extends Who {
  inputs: EmbeddingInput;
}

interface SuitRequest extends Who {
  question: string;
}

interface CountRequest extends Who {
  prompt: readonly ChatMessage[];
  options?: AnswerOptions;
}

interface ImportRequest {
  model: ResolvedModel & { called: string };
  bytes: Uint8Array;
  /** What the file is called in messages. */
  name: string;
}

interface TokensRequest extends Pick<Who, 'model'> {
  request: TokenRequest;
}

/** The worker asks for the file of an adapter by its name. */
export interface InferenceTasks {
  answer: { input: InferenceRequest; event: ChatEvent; question: string; answer: Uint8Array; result: string };
  embed: { input: EmbedRequest; event: 'embedded'; question: string; answer: Uint8Array; result: Embedded };
  suited: { input: SuitRequest; event: never; question: string; answer: Uint8Array; result: string[] };
  count: { input: CountRequest; event: never; question: string; answer: Uint8Array; result: number };
  tokens: {
    input: TokensRequest;
    event: never;
    question: never;
    answer: never;
    result: { id: number; bytes: Uint8Array }[];
  };
  imported: { input: ImportRequest; event: never; question: never; answer: never; result: Lineage };
  preview: { input: PreviewRequest; event: never; question: never; answer: never; result: ExamplePreview };
}

/** Reads the file of an adapter by its name. */
type ReadAdapter = (name: string) => Promise<Uint8Array>;

/**
 * Answers from a process of its own, one at a time in order of asking. It is started when there is something to answer, and again
 * when it has died: an abort in native code costs the answer and nothing else.
 */
export class InferenceProcess implements AsyncDisposable {
  private worker: WorkerProcess<InferenceTasks> | undefined;
  private readonly turn = new Mutex();
  private idle: NodeJS.Timeout | undefined;
  private waiting = 0;

  /** Process id while one is there. */
  get pid(): number | undefined {
    return this.worker?.isAlive ? this.worker.pid : undefined;
  }

  /** An answer piece by piece, and whole. @throws StoppedError, LoamError of whatever went wrong, or if the process died */
  answer(request: InferenceRequest, readAdapter: ReadAdapter, signal: AbortSignal): Run<ChatEvent, string> {
    return this.inTurn('answer', request, signal, readAdapter);
  }

  /** Vectors of texts. */
  embed(request: EmbedRequest, readAdapter: ReadAdapter, signal: AbortSignal): Promise<Embedded> {
    return this.inTurn('embed', request, signal, readAdapter).result;
  }

  /** Names of those adapters that a question is for. */
  suited(request: SuitRequest, readAdapter: ReadAdapter, signal: AbortSignal): Promise<string[]> {
    return this.inTurn('suited', request, signal, readAdapter).result;
  }

  /** Tokens of the prompt that a conversation becomes. */
  count(request: CountRequest, readAdapter: ReadAdapter, signal: AbortSignal): Promise<number> {
    return this.inTurn('count', request, signal, readAdapter).result;
  }

  /** Tokens of a text, or the other way round. */
  tokens(request: TokensRequest, signal: AbortSignal): Promise<InferenceTasks['tokens']['result']> {
    return this.inTurn('tokens', request, signal).result;
  }

  /** What is known of an adapter file that fits its base model, and has been tried on it (`importedLineage`). */
  imported(request: ImportRequest, signal: AbortSignal): Promise<Lineage> {
    return this.inTurn('imported', request, signal).result;
  }

  /** What a model would learn from examples. */
  preview(request: PreviewRequest, signal: AbortSignal): Promise<ExamplePreview> {
    return this.inTurn('preview', request, signal).result;
  }

  private inTurn<K extends keyof InferenceTasks>(
    task: K,
    input: InferenceTasks[K]['input'],
    outer: AbortSignal,
    readAdapter?: ReadAdapter,
  ): Run<InferenceTasks[K]['event'], InferenceTasks[K]['result']> {
    return new Run(async (emit, signal) => {
      this.waiting++;
      try {
        return await this.turn.run(async () => {
          let begun = false;
          const limits = { firstMs: await beginningMs(input), nextMs: NEXT_MS };
          const attempt = () => {
            throwIfStopped(signal);
            const answer = (name: string) => {
              begun = true;
              return readAdapter!(name);
            };
            return this.start()
              .run(task, input, { signal, answer, limits })
              .each((event) => {
                begun = true;
                emit(event);
              });
          };
          return await attempt().catch((error: unknown) => {
            // It may have been dead before it was asked. What has begun is not begun again: that may be what killed it.
            if (!(error instanceof LoamError && error.code === 'process-died') || begun || this.worker?.overdue)
              throw error;
            return attempt();
          });
        });
      } finally {
        if (--this.waiting === 0) this.restUntilNeeded();
      }
    }, outer);
  }

  private start(): WorkerProcess<InferenceTasks> {
    clearTimeout(this.idle);
    if (!this.worker?.isAlive)
      this.worker = new WorkerProcess(program, { does: 'answers', stopMs: STOP_MS, lifeMs: LIFE_MS });
    return this.worker;
  }

  private restUntilNeeded(): void {
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.worker?.kill(), IDLE_MS);
    this.idle.unref();
  }

  /** Ends the process: whatever it holds of the user is gone with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.idle);
    await this.worker?.[Symbol.asyncDispose]();
  }
}

/** Milliseconds within which the slowest device begins to answer, or has a preview or tokens ready. */
async function beginningMs(input: InferenceTasks[keyof InferenceTasks]['input']): Promise<number> {
  const path = typeof input.model === 'string' ? input.model : input.model.path;
  const bytes = await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
  const common = BEGIN_MS + bytes / BYTES_PER_MS;
  if ('examples' in input) return common + input.examples.length * MS_PER_EXAMPLE;
  return common + charactersOf(input) * MS_PER_CHARACTER;
}

function charactersOf(
  input: InferenceRequest | SuitRequest | CountRequest | EmbedRequest | TokensRequest | ImportRequest,
): number {
  if ('request' in input || 'question' in input || 'bytes' in input) return 0;
  if ('inputs' in input) return Math.max(...input.inputs.map(({ length }) => length));
  const { prompt } = input;
  return lengthOf(prompt, 'options' in input ? input.options?.tools : undefined);
}

function lengthOf(prompt: InferenceRequest['prompt'], tools?: readonly Tool[]): number {
  if (typeof prompt === 'string') return prompt.length;
  if ('tokens' in prompt) return prompt.tokens.length;
  if ('before' in prompt) return prompt.before.length + prompt.after.length;
  return charactersIn(prompt, tools);
}
