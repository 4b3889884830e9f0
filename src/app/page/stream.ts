import { retryDelay, type SseEvent, SseParser } from '../logic/sse.js';
import { ApiError, type Fault, headers, isAbort, readFault, tellReach } from './api.js';

/** Event streams of the server: one answer (chat, comparison), or one that is followed for as long as the page is looked at. */

async function* eventsOf(response: Response): AsyncGenerator<SseEvent> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = response.body!.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** Asks for one streamed answer. Throws ApiError for a refusal, and for an error within the stream. */
export async function* ask<T extends object>(
  path: string,
  body: unknown,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: 'POST',
      headers: { ...headers(), 'Content-Type': 'application/json', Accept: 'text/event-stream' },
      body: JSON.stringify(body),
      signal,
      cache: 'no-store',
      credentials: 'omit',
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    tellReach(false, 0);
    throw new ApiError(0, { message: 'Loam’s server does not answer.' });
  }
  tellReach(true, response.status);
  if (!response.ok) throw new ApiError(response.status, await readFault(response));
  try {
    for await (const { data } of eventsOf(response)) {
      if (data === '[DONE]') return;
      const event = JSON.parse(data) as T & { type?: string };
      if (event.type === 'error') throw new ApiError(500, event as Fault);
      yield event as Awaited<T>;
    }
  } catch (error) {
    if (isAbort(error) || error instanceof ApiError) throw error;
    tellReach(false, 0);
    throw new ApiError(0, { message: 'The answer broke off: the connection to Loam’s server was lost.' });
  }
}

/** A stream from which nothing came for this long, in milliseconds, is dead, though the browser has not noticed. */
const SILENCE = 45_000;

/**
 * Follows a stream until `stop` is called: connects again after a break, and goes on after the last event that came. While the page is
 * hidden it holds no connection: browsers allow six a server, for all their tabs together, and a phone's battery is small.
 */
export function follow(
  path: string,
  listener: {
    /** `id` is 0 for an event of this moment only, which is not sent again. */
    onEvent: (id: number, data: unknown) => void;
    /** Asked when the server ends the stream: whether that was its end and not a break. */
    isOver?: () => boolean;
    onState?: (connected: boolean) => void;
    /** The server no longer knows the last event: what was made of them must be made anew. */
    onReset?: () => void;
  },
): () => void {
  let lastId = '';
  let stopped = false;
  let attempt = 0;
  let abort = new AbortController();
  let wake: () => void = () => {};

  const sleep = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const visible = () => document.visibilityState === 'visible';
  const onVisibility = () => {
    if (visible()) {
      attempt = 0;
      wake();
    } else abort.abort();
  };
  const onOnline = () => wake();
  document.addEventListener('visibilitychange', onVisibility);
  addEventListener('loam-retry', onOnline);

  const once = async () => {
    abort = new AbortController();
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => abort.abort(), SILENCE);
    };
    alive();
    try {
      const response = await fetch(path, {
        headers: { ...headers(), Accept: 'text/event-stream', ...(lastId && { 'Last-Event-ID': lastId }) },
        signal: abort.signal,
        cache: 'no-store',
        credentials: 'omit',
      });
      tellReach(true, response.status);
      // 4xx: asking again gives the same answer (locked, deleted); the page that asked learns of it by its other calls.
      if (!response.ok) return response.status >= 500;
      listener.onState?.(true);
      attempt = 0;
      const parser = new SseParser();
      const decoder = new TextDecoder();
      const reader = response.body!.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return !listener.isOver?.();
        alive();
        for (const event of parser.push(decoder.decode(value, { stream: true }))) {
          if (event.id) lastId = event.id;
          if (event.event === 'reset') listener.onReset?.();
          // "N" or "EPOCH-N": numbers grow within an epoch, and a new epoch begins with a reset.
          const id = event.own ? Number(/\d+$/.exec(event.id)?.[0] ?? 0) : 0;
          listener.onEvent(id, JSON.parse(event.data));
        }
      }
    } catch (error) {
      if (!stopped && !isAbort(error)) tellReach(false, 0);
      return true;
    } finally {
      clearTimeout(timer);
      listener.onState?.(false);
    }
  };

  void (async () => {
    while (!stopped) {
      if (!visible()) {
        await sleep(3_600_000);
        continue;
      }
      const again = await once();
      if (stopped || !again) return;
      attempt++;
      await sleep(visible() ? retryDelay(attempt) : 3_600_000);
    }
  })();

  return () => {
    stopped = true;
    abort.abort();
    wake();
    document.removeEventListener('visibilitychange', onVisibility);
    removeEventListener('loam-retry', onOnline);
  };
}
