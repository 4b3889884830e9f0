import type { ApiFault } from '../../serve/contract/errors.js';
import { retryDelay, type SseEvent, SseParser } from '../logic/sse.js';
import { ApiError, authorization, isAbort, request, requestInit, tellReach } from './api.js';

/** Event streams of the server: one answer (chat, comparison), or one that is followed while the page is in view. */

const EVENT_STREAM = 'text/event-stream';

/** @param onBytes called whenever something arrives, be it a whole event or not */
async function* eventsOf(response: Response, onBytes = () => {}): AsyncGenerator<SseEvent> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = response.body!.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** The last event of a stream that broke off at the server. */
type ErrorEvent = { type: 'error' } & ApiFault;

/** Asks for one streamed answer. Throws ApiError for a refusal, and for an error within the stream. */
export async function* ask<T extends { type: string }>(
  path: string,
  body: unknown,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  const response = await request('POST', path, { body, signal, accept: EVENT_STREAM });
  try {
    for await (const { data } of eventsOf(response)) {
      if (data === '[DONE]') return;
      const event = JSON.parse(data) as T | ErrorEvent;
      if (event.type === 'error') throw new ApiError(500, event as ErrorEvent);
      yield event as Awaited<T>;
    }
  } catch (error) {
    if (isAbort(error) || error instanceof ApiError) throw error;
    tellReach(false);
    throw new ApiError(0, { message: 'The answer broke off: the connection to Loam’s server was lost.' });
  }
}

interface Follower {
  /** `id` is 0 for an event of this moment only, which is not sent again. */
  onEvent: (id: number, data: unknown) => void;
  /** Asked when the server closes the stream: whether the job is over, or the stream only broke. */
  isOver?: () => boolean;
}

/** A stream from which nothing came for this long, in milliseconds, is dead, even if the browser has not noticed. */
const SILENCE = 45_000;
/** Milliseconds: until something wakes the stream. */
const LONG = 3_600_000;

/**
 * Follows a stream until the function that it returns is called: reconnects after a break and continues after the last event it
 * received. While the page is hidden it holds no connection: browsers allow six a server, for all their tabs together, and a phone's
 * battery is small.
 */
export function follow(path: string, follower: Follower): () => void {
  let lastId = '';
  let stopped = false;
  let attempt = 0;
  let abort = new AbortController();
  let wake = () => {};

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
  const onRetry = () => wake();
  document.addEventListener('visibilitychange', onVisibility);
  addEventListener('loam-retry', onRetry);

  /** One connection. @returns whether to try another */
  const once = async (): Promise<boolean> => {
    abort = new AbortController();
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => abort.abort(), SILENCE);
    };
    alive();
    try {
      const response = await fetch(path, {
        ...requestInit,
        headers: { ...authorization(), Accept: EVENT_STREAM, ...(lastId && { 'Last-Event-ID': lastId }) },
        signal: abort.signal,
      });
      tellReach(true, response.status);
      // 4xx: asking again gives the same answer (locked, deleted); the page that asked learns of it by its other calls.
      if (!response.ok) return response.status >= 500;
      attempt = 0;
      for await (const { id, own, data } of eventsOf(response, alive)) {
        if (id) lastId = id;
        // "N" or "EPOCH-N": numbers grow within an epoch, and a new epoch begins with a reset.
        follower.onEvent(own ? Number(/\d+$/.exec(id)?.[0] ?? 0) : 0, JSON.parse(data));
      }
      return !follower.isOver?.();
    } catch (error) {
      if (!stopped && !isAbort(error)) tellReach(false);
      return true;
    } finally {
      clearTimeout(timer);
    }
  };

  void (async () => {
    while (!stopped) {
      if (!visible()) {
        await sleep(LONG);
        continue;
      }
      const again = await once();
      if (stopped || !again) return;
      attempt++;
      await sleep(visible() ? retryDelay(attempt) : LONG);
    }
  })();

  return () => {
    stopped = true;
    abort.abort();
    wake();
    document.removeEventListener('visibilitychange', onVisibility);
    removeEventListener('loam-retry', onRetry);
  };
}
