import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { LoamError, StoppedError, throwIfStopped } from '../../base/errors.js';
import { Wakeup } from '../../base/events.js';
import { Mutex } from '../../base/lock.js';
import { type SentError, unpackError } from '../../base/process.js';
import type { ExamplePreview, PreviewRequest } from '../../examples/preview.js';
import type { ChatEvent, Sampling } from '../../llama/ChatSession.js';
import type { ChatMessage } from '../../model/chatTemplate.js';

const program = fileURLToPath(new URL('./inferenceWorker.js', import.meta.url));

/** Milliseconds without a request after which the process ends and its memory is free; starting again takes about a second. */
const IDLE_MS = 5 * 60_000;
/** Milliseconds that a stopped answer may take to end: an operation of the graph. After that the process is ended. */
const STOP_MS = 10_000;

/**
 * Answers from a process of its own, one at a time in order of asking. It is started when there is something to answer, and again
 * when it has died: an abort in native code costs the answer and nothing else.
 */
export class InferenceProcess implements AsyncDisposable {
  private child: ChildProcess | undefined;
  private readonly turn = new Mutex();
  private idle: NodeJS.Timeout | undefined;
  private count = 0;
  private waiting = 0;

  constructor(private readonly options: { idleMs?: number } = {}) {}

  /** Process id while one is there. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Answers that are asked for and not ended. */
  get pending(): number {
    return this.waiting;
  }

  /**
   * Streams an answer. Ending the iteration early, or `signal`, stops it.
   * @param adapter reads the file of the adapter that the request names, where the process does not hold it
   * @throws StoppedError, LoamError of whatever went wrong, or where the process died
   */
  async *answer(
    request: InferenceRequest,
    { adapter, signal }: { adapter?: () => Promise<Uint8Array>; signal?: AbortSignal } = {},
  ): AsyncGenerator<ChatEvent, void, void> {
    yield* this.inTurn((id) => ({ type: 'answer', id, request }), adapter, signal);
  }

  /** What a model would learn from examples. */
  async preview(request: PreviewRequest, signal?: AbortSignal): Promise<ExamplePreview> {
    return (await this.result((id) => ({ type: 'preview', id, request }), undefined, signal)) as ExamplePreview;
  }

  private async result(
    message: (id: number) => ToInference,
    adapter: (() => Promise<Uint8Array>) | undefined,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const work = this.inTurn(message, adapter, signal);
    for (;;) {
      const { done, value } = await work.next();
      if (done) return value;
    }
  }

  private async *inTurn(
    message: (id: number) => ToInference,
    adapter: (() => Promise<Uint8Array>) | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ChatEvent, unknown, void> {
    throwIfStopped(signal);
    this.waiting++;
    let release = () => {};
    const ended = new Promise<void>((resolve) => {
      release = resolve;
    });
    try {
      await new Promise<void>((resolve, reject) => {
        // Whoever gives up while waiting lets the next one pass.
        signal?.addEventListener('abort', () => reject(new StoppedError()), { once: true });
        this.turn
          .run(() => {
            resolve();
            return ended;
          })
          .catch(reject);
      });
      throwIfStopped(signal);
      const attempt = { begun: false };
      try {
        return yield* this.run(message, adapter, signal, attempt);
      } catch (error) {
        // It may have been dead before it was asked. What has begun is not begun again: that may be what killed it.
        if (!(error instanceof DiedError) || attempt.begun) throw error;
      }
      return yield* this.run(message, adapter, signal, attempt);
    } finally {
      release();
      if (--this.waiting === 0) this.restUntilNeeded();
    }
  }

  private async *run(
    request: (id: number) => ToInference,
    adapter: (() => Promise<Uint8Array>) | undefined,
    signal: AbortSignal | undefined,
    attempt: { begun: boolean },
  ): AsyncGenerator<ChatEvent, unknown, void> {
    clearTimeout(this.idle);
    const child = this.start();
    const id = ++this.count;
    const queue: FromInference[] = [];
    let died: string | undefined;
    const wakeup = new Wakeup();
    const onMessage = (message: FromInference) => {
      if (message.id !== id) return;
      queue.push(message);
      wakeup.wake();
    };
    const onExit = (code: number | null, killed: NodeJS.Signals | null) => {
      died = killed ?? `exit code ${code}`;
      wakeup.wake();
    };
    child.on('message', onMessage);
    child.on('exit', onExit);
    let late: NodeJS.Timeout | undefined;
    const stop = () => {
      this.tell(child, { type: 'stop', id });
      late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    };
    signal?.addEventListener('abort', stop, { once: true });
    let over = false;
    /** The next message; undefined when the process has died. */
    const next = async (): Promise<FromInference | undefined> => {
      while (queue.length === 0 && died === undefined) await wakeup.sleep();
      const message = queue.shift();
      over = message === undefined || message.type === 'done' || message.type === 'failed';
      return message;
    };
    try {
      this.tell(child, request(id));
      for (;;) {
        const message = await next();
        if (!message) throw signal?.aborted ? new StoppedError() : new DiedError(died!);
        attempt.begun = true;
        if (message.type === 'done') return message.result;
        if (message.type === 'failed') throw unpackError(message.error);
        if (message.type === 'event') yield message.event;
        if (message.type === 'need-adapter') await this.handOver(child, id, adapter);
      }
    } finally {
      // One answer at a time: the next one must not come to a process that is still at this one.
      if (!over) {
        if (late === undefined) stop();
        while (!over) await next();
      }
      clearTimeout(late);
      signal?.removeEventListener('abort', stop);
      child.off('message', onMessage);
      child.off('exit', onExit);
    }
  }

  private async handOver(child: ChildProcess, id: number, adapter: (() => Promise<Uint8Array>) | undefined) {
    let bytes: Uint8Array | undefined;
    try {
      bytes = await adapter?.();
    } finally {
      this.tell(child, bytes ? { type: 'adapter', id, bytes } : { type: 'no-adapter', id });
    }
  }

  private tell(child: ChildProcess, message: ToInference): void {
    // A process that has died says so by its end.
    if (child.connected) child.send(message, () => {});
  }

  private start(): ChildProcess {
    if (this.child) return this.child;
    const child = spawn(process.execPath, [program], {
      // Ctrl-C in the terminal is its parent's affair: on Linux and macOS it would reach the whole group.
      detached: process.platform !== 'win32',
      stdio: ['ignore', 'ignore', process.env.LOAM_NATIVE_LOG ? 'inherit' : 'ignore', 'ipc'],
      serialization: 'advanced',
    });
    child.on('error', () => {});
    child.on('exit', () => {
      if (this.child === child) this.child = undefined;
    });
    this.child = child;
    return child;
  }

  private restUntilNeeded(): void {
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.child?.kill('SIGKILL'), this.options.idleMs ?? IDLE_MS);
    this.idle.unref();
  }

  /** Ends the process: whatever it holds of the user is gone with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.idle);
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await ended;
  }
}

class DiedError extends LoamError {
  constructor(how: string) {
    super({
      found: `the process that answers was ended by the system (${how})`,
      fix: 'close other programs if memory is short, and ask again; with LOAM_NATIVE_LOG=1 it says more',
    });
  }
}

/** What passes between a program and its inference process: over a pipe, never over a disk. */

export interface InferenceRequest {
  /** Path of a base model that is a GGUF file. */
  model: string;
  contextLength?: number;
  /** Name of the adapter to wear; its file is asked for where it is not held. Undefined: the bare base. */
  adapter?: string;
  /** A conversation whose last message is the user's, or a text to go on with. */
  prompt: readonly ChatMessage[] | string;
  sampling: Sampling;
  stop?: readonly string[];
  forget?: boolean;
}

export type ToInference =
  | { type: 'answer'; id: number; request: InferenceRequest }
  | { type: 'preview'; id: number; request: PreviewRequest }
  | { type: 'adapter'; id: number; bytes: Uint8Array }
  | { type: 'no-adapter'; id: number }
  | { type: 'stop'; id: number };

export type FromInference =
  | { type: 'need-adapter'; id: number }
  | { type: 'event'; id: number; event: ChatEvent }
  | { type: 'done'; id: number; result?: unknown }
  | { type: 'failed'; id: number; error: SentError };
