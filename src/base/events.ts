/** Lets a loop sleep until something has happened: what happens while it is awake ends its next sleep at once. */
export class Wakeup {
  private pending = false;
  private resume = () => {};

  readonly wake = (): void => {
    this.pending = true;
    this.resume();
  };

  async sleep(): Promise<void> {
    if (!this.pending) {
      await new Promise<void>((resolve) => {
        this.resume = resolve;
      });
    }
    this.pending = false;
  }
}

/**
 * A long operation: plain JSON events while it works, then its result.
 *
 * @example
 * for await (const event of run) show(event);
 * const result = await run.result;
 *
 * Nothing begins before the first event or the result is asked for. Events are kept until they are read, by one reader; without one
 * they are dropped, so `await run.result` alone runs to the end. Leaving the loop early stops the work and waits for its end;
 * `result` then rejects with StoppedError, as it does when the caller's signal fires. A failure is thrown by the loop, after the
 * events before it, and by `result`.
 */
export class Run<E, R> implements AsyncIterable<E, void, undefined> {
  private readonly controller = new AbortController();
  private readonly unread: E[] = [];
  private reader: AsyncGenerator<E, void, undefined> | undefined;
  private running: Promise<R> | undefined;
  private ended = false;
  private readonly wakeup = new Wakeup();

  /** @param work throws StoppedError when the signal that it is given fires, which follows `outer` */
  constructor(
    private readonly work: (emit: (event: E) => void, signal: AbortSignal) => Promise<R>,
    private readonly outer?: AbortSignal,
  ) {}

  get result(): Promise<R> {
    if (!this.running) {
      this.running = this.toEnd();
      // Whoever looks later still sees the failure; until then it is no unhandled rejection.
      this.running.catch(() => {});
    }
    return this.running;
  }

  /** Hands on each event as it comes; the result once the work has ended. */
  async each(take: (event: E) => void): Promise<R> {
    for await (const event of this) take(event);
    return await this.result;
  }

  [Symbol.asyncIterator](): AsyncGenerator<E, void, undefined> {
    this.reader ??= this.read();
    return this.reader;
  }

  private async toEnd(): Promise<R> {
    // A reader who comes right after asking for the result misses no event.
    await undefined;
    const { outer, controller } = this;
    const stop = () => controller.abort(outer?.reason);
    if (outer?.aborted) stop();
    outer?.addEventListener('abort', stop, { once: true });
    const emit = (event: E) => {
      if (this.reader) this.unread.push(event);
      this.wakeup.wake();
    };
    try {
      return await this.work(emit, controller.signal);
    } finally {
      outer?.removeEventListener('abort', stop);
      this.ended = true;
      this.wakeup.wake();
    }
  }

  private async *read(): AsyncGenerator<E, void, undefined> {
    const { result } = this;
    try {
      for (;;) {
        while (this.unread.length > 0) yield this.unread.shift()!;
        if (this.ended) break;
        await this.wakeup.sleep();
      }
      await result;
    } finally {
      this.controller.abort();
      await result.catch(() => {});
    }
  }
}
