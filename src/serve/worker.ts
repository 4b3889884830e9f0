import type { ChildProcess } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { afterAwake, startChild } from '../base/child.js';
import { LoamError, StoppedError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { duration } from '../base/format.js';
import { lowerPriority, packError, type SentError, unpackError } from '../base/process.js';
import { leaveNoCore } from '../engine/core.js';

/**
 * Processes that work for this one, so that native code that aborts, or a system short of memory, ends them and nothing else. A worker
 * does tasks: each has an input, tells events, may ask its parent questions, and ends in a result or an error. All of it passes
 * over a pipe, so none of it touches a disk.
 */

/** What one kind of task is made of. */
interface Task {
  input: unknown;
  event: unknown;
  question: unknown;
  answer: unknown;
  result: unknown;
}

type ToWorker =
  | { type: 'begin'; id: number; task: string; input: unknown }
  | { type: 'answer'; id: number; value?: unknown; error?: SentError }
  | { type: 'stop'; id: number };

type FromWorker =
  | { type: 'alive'; id: number }
  | { type: 'event'; id: number; event: unknown }
  | { type: 'question'; id: number; question: unknown }
  | { type: 'done'; id: number; result: unknown }
  | { type: 'failed'; id: number; error: SentError };

interface WorkerOptions {
  /** What it does, for the sentence on its death: "answers". */
  does: string;
  /** Milliseconds that a task that was stopped may take to end. After that the process is ended. */
  stopMs: number;
  env?: NodeJS.ProcessEnv;
  /** Milliseconds without a sign of life from a task after which the process hangs, and is ended. */
  lifeMs?: number;
  /** Everything else on the device goes first, from its first thread on. */
  background?: boolean;
}

/** Milliseconds between two signs of life of a worker that is at a task. */
const ALIVE_MS = 1_000;

/** How long a task may take without an event: until the first, and from one to the next. */
interface Limits {
  firstMs: number;
  nextMs: number;
}

/** What a task is given besides its input. */
interface TaskOptions<Q, A> {
  signal?: AbortSignal;
  /** To the task's questions. */
  answer?: (question: Q) => Promise<A>;
  /** The process is ended when they are passed. */
  limits?: Limits;
}

/** The parent's side of a worker whose program does the tasks of `T`. */
export class WorkerProcess<T extends { [K in keyof T]: Task }> implements AsyncDisposable {
  private readonly child: ChildProcess;
  private readonly tasks = new Map<number, (message: FromWorker) => void>();
  private count = 0;
  /** Why it was ended because it took too long. */
  overdue: string | undefined;
  /** How it ended: a signal or an exit code. Never rejects. */
  private readonly ended: Promise<string>;

  constructor(
    program: string,
    private readonly options: WorkerOptions,
  ) {
    this.child = startChild(program, { kind: 'worker', env: options.env });
    try {
      // At once, so that its threads inherit it; it does the same for those it has.
      if (options.background && this.child.pid !== undefined)
        setPriority(this.child.pid, constants.priority.PRIORITY_LOW);
    } catch {
      // It does it itself.
    }
    this.child.on('message', (message: FromWorker) => this.tasks.get(message.id)?.(message));
    this.ended = new Promise((resolve) => {
      this.child.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.name));
      // All messages have arrived when the pipe has closed.
      this.child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get isAlive(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /**
   * Has a task done. `signal`, and leaving the run early, stop it.
   * @throws the task's error; StoppedError; LoamError (process-died)
   */
  run<K extends keyof T & string>(
    task: K,
    input: T[K]['input'],
    { signal, ...options }: TaskOptions<T[K]['question'], T[K]['answer']> = {},
  ): Run<T[K]['event'], T[K]['result']> {
    return new Run((emit, inner) => this.work(task, input, emit, { ...options, signal: inner }), signal);
  }

  private async work<R>(
    task: string,
    input: unknown,
    emit: (event: unknown) => void,
    { answer, signal, limits }: TaskOptions<unknown, unknown> & { signal: AbortSignal },
  ): Promise<R> {
    const id = ++this.count;
    const watch = new Watch((why) => {
      this.overdue = why;
      this.kill();
    });
    const { lifeMs } = this.options;
    const lives = () => {
      if (lifeMs) watch.expect('life', lifeMs, `gave no sign of life for ${duration(lifeMs / 1000)}`);
    };
    const progresses = (ms: number | undefined) => {
      if (ms) watch.expect('progress', ms, `came to nothing in ${duration(ms / 1000)}`);
    };
    let late: NodeJS.Timeout | undefined;
    let answering = Promise.resolve();
    const stop = () => {
      this.tell({ type: 'stop', id });
      late ??= setTimeout(() => this.kill(), this.options.stopMs);
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await new Promise<R>((resolve, reject) => {
        this.tasks.set(id, (message) => {
          lives();
          if (message.type !== 'alive') progresses(limits?.nextMs);
          if (message.type === 'event') emit(message.event);
          if (message.type === 'question') answering = this.reply(id, answer?.(message.question));
          if (message.type === 'done') resolve(message.result as R);
          if (message.type === 'failed') reject(unpackError(message.error));
        });
        void this.ended.then((how) => reject(signal.aborted ? new StoppedError() : this.died(how)));
        lives();
        progresses(limits?.firstMs);
        this.tell({ type: 'begin', id, task, input });
        if (signal.aborted) stop();
      });
    } finally {
      watch.end();
      clearTimeout(late);
      signal.removeEventListener('abort', stop);
      this.tasks.delete(id);
      await answering;
    }
  }

  private async reply(id: number, answer: Promise<unknown> | undefined): Promise<void> {
    try {
      this.tell({ type: 'answer', id, value: await answer });
    } catch (error) {
      this.tell({ type: 'answer', id, error: packError(error) });
    }
  }

  private died(how: string): LoamError {
    const { does } = this.options;
    if (this.overdue !== undefined) {
      return new LoamError({
        code: 'process-died',
        found: `the process that ${does} ${this.overdue} and was ended`,
        fix: 'try again with something shorter, or with another model',
      });
    }
    return new LoamError({
      code: 'process-died',
      found: `the process that ${does} was ended by the system (${how})`,
      fix: 'close other programs if memory is short, and try again; with LOAM_NATIVE_LOG=1 it says more',
    });
  }

  private tell(message: ToWorker): void {
    try {
      // A process that has died says so by its end.
      if (this.child.connected) this.child.send(message, () => {});
    } catch (error) {
      // What cannot be sent would be waited for for ever.
      if (this.child.connected && message.type === 'begin') throw error;
    }
  }

  /** Ends it now, with whatever it is at and whatever it holds. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.ended;
  }
}

/** Waits for signs of several kinds, each within its time of being awake. */
class Watch {
  private readonly waits = new Map<string, () => void>();

  constructor(private readonly onPassed: (why: string) => void) {}

  /** The next sign of a kind is to come within so many milliseconds. */
  expect(kind: string, ms: number, why: string): void {
    this.waits.get(kind)?.();
    this.waits.set(
      kind,
      afterAwake(ms, () => this.onPassed(why)),
    );
  }

  end(): void {
    for (const end of this.waits.values()) end();
    this.waits.clear();
  }
}

/** What a task's work may do besides. */
interface Context<T extends Task> {
  /** Fires when the task is to stop, or nobody is left to work for. */
  signal: AbortSignal;
  emit(event: T['event']): void;
  /** @throws what the parent's answer threw; StoppedError if it has gone */
  ask(question: T['question']): Promise<T['answer']>;
}

/**
 * The program's side: does the tasks that the parent asks for, until that has gone.
 * @param nice as of `lowerPriority`
 * @param farewellMs milliseconds to stop in when the parent has gone
 */
export function serveTasks<T extends { [K in keyof T]: Task }>(
  tasks: { [K in keyof T]: (input: T[K]['input'], context: Context<T[K]>) => Promise<T[K]['result']> },
  { nice, farewellMs }: { nice: number; farewellMs: number },
): void {
  leaveNoCore();
  lowerPriority(nice);
  const running = new Map<number, AbortController>();
  const asked = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const send = (message: FromWorker) => {
    if (process.connected) process.send!(message, undefined, undefined, () => {});
  };
  // From the event loop: one that native code or a loop of ours holds up is silent.
  setInterval(() => {
    for (const id of running.keys()) send({ type: 'alive', id });
  }, ALIVE_MS).unref();
  const begin = async (id: number, task: string, input: unknown) => {
    const controller = new AbortController();
    running.set(id, controller);
    const context: Context<Task> = {
      signal: controller.signal,
      emit: (event) => send({ type: 'event', id, event }),
      ask: (question) =>
        new Promise((resolve, reject) => {
          if (!process.connected) return reject(new StoppedError());
          asked.set(id, { resolve, reject });
          send({ type: 'question', id, question });
        }),
    };
    try {
      const result = await (tasks as Record<string, (input: unknown, context: Context<Task>) => unknown>)[task]!(
        input,
        context,
      );
      send({ type: 'done', id, result });
    } catch (error) {
      send({ type: 'failed', id, error: packError(error) });
    }
    running.delete(id);
    if (!process.connected && running.size === 0) process.exit(1);
  };
  process.on('message', (message: ToWorker) => {
    const { id } = message;
    if (message.type === 'begin') void begin(id, message.task, message.input);
    else if (message.type === 'stop') running.get(id)?.abort();
    else if (message.error) asked.get(id)?.reject(unpackError(message.error));
    else asked.get(id)?.resolve(message.value);
  });
  process.on('disconnect', () => {
    for (const controller of running.values()) controller.abort();
    for (const { reject } of asked.values()) reject(new StoppedError());
    if (running.size === 0) process.exit(0);
    setTimeout(() => process.exit(1), farewellMs);
  });
}
