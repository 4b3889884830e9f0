/**
 * Turns work that reports through a callback into an async generator of its events, which returns the work's result. When the
 * consumer stops early the work's signal fires, and the generator ends only after the work has.
 */
export async function* eventStream<E, R>(
  work: (emit: (event: E) => void, signal: AbortSignal) => Promise<R>,
  outer?: AbortSignal,
): AsyncGenerator<E, R, void> {
  const controller = new AbortController();
  const forward = () => controller.abort(outer?.reason);
  if (outer?.aborted) forward();
  outer?.addEventListener('abort', forward, { once: true });
  const queue: E[] = [];
  let wake = () => {};
  const emit = (event: E) => {
    queue.push(event);
    wake();
  };
  let settled: { result: R } | { error: unknown } | undefined;
  const running = work(emit, controller.signal).then(
    (result) => {
      settled = { result };
      wake();
    },
    (error: unknown) => {
      settled = { error };
      wake();
    },
  );
  try {
    for (;;) {
      while (queue.length > 0) yield queue.shift()!;
      if (settled) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (queue.length > 0 || settled) resolve();
      });
    }
    if ('error' in settled) throw settled.error;
    return settled.result;
  } finally {
    controller.abort();
    await running;
    outer?.removeEventListener('abort', forward);
  }
}
