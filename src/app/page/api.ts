import type { ApiErrorCode, ApiFault, ErrorBody } from '../../serve/contract/errors.js';
import { t } from '../logic/language.js';
import { retryDelay, type SseEvent, SseParser } from '../logic/sse.js';
import { forgetSession, NotOurs, prove, session, sessionNow } from './access.js';

/** Calls to the server's API: requests, refusals, uploads and downloads, streams of events. Each names the session of access.ts. */

/** What the server refused, in its own words; status 0 when it could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: ApiErrorCode | undefined;
  /** Names among which the person can choose. */
  readonly choices: readonly string[] | undefined;
  constructor(status: number, { message, code, choices }: Partial<ApiFault>) {
    super(message ?? t('The server answered {status}.', { status }));
    this.status = status;
    this.code = code;
    this.choices = choices;
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** Told how the last request went; the banner that says the server is gone listens. */
const listeners = new Set<(reached: boolean, status: number) => void>();

export function onReach(listener: (reached: boolean, status: number) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tellReach(reached: boolean, status = 0): void {
  for (const listener of listeners) listener(reached, status);
}

/** What every request has in common, beside its headers: no cookie, no cache. */
const requestInit = { cache: 'no-store', credentials: 'omit', redirect: 'error' } as const;

/**
 * What opens the server. Before anything of the person's is sent, the server has to show who it is: the one that answered a minute ago
 * may have ended, and another program have taken its port.
 */
async function authorization(sends = false): Promise<{ Authorization: string }> {
  try {
    return { Authorization: `Bearer ${await (sends ? prove() : session())}` };
  } catch (error) {
    if (!(error instanceof NotOurs)) throw error;
    tellReach(true, 401);
    throw new ApiError(401, { message: error.message, code: 'unauthorized' });
  }
}

interface CallOptions {
  body?: unknown;
  signal?: AbortSignal;
  accept?: string;
}

/** One request; throws ApiError. */
export async function request(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { body, signal, accept = '*/*' } = options;
  const send = async () =>
    await fetch(path, {
      ...requestInit,
      method,
      headers: {
        ...(await authorization(method !== 'GET')),
        Accept: accept,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  let response: Response;
  try {
    response = await send();
    // The server was started anew, or the session is over: it has a new one for who knows the secret.
    if (response.status === 401) {
      forgetSession();
      response = await send();
    }
  } catch (error) {
    if (isAbort(error) || error instanceof ApiError) throw error;
    tellReach(false);
    throw new ApiError(0, { message: t('Loam’s server is not responding. Start it with “loam serve”.') });
  }
  tellReach(true, response.status);
  if (!response.ok) throw refused(response.status, await response.json().catch(() => null));
  return response;
}

/** Sends what has no content, while the page is being left. */
export function requestNow(method: string, path: string): void {
  const token = sessionNow();
  if (!token) return;
  void fetch(path, { ...requestInit, method, keepalive: true, headers: { Authorization: `Bearer ${token}` } }).catch(
    () => {},
  );
}

/** The JSON of one answer; undefined where the answer is empty. */
export async function call<T>(method: string, path: string, options?: CallOptions): Promise<T> {
  const text = await (await request(method, path, options)).text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

function refused(status: number, answer: Partial<ErrorBody> | null): ApiError {
  return new ApiError(status, answer?.error ?? {});
}

/** Sends bytes as they are, with progress, which fetch cannot report. `onProgress` gets a share from 0 to 1. */
export async function upload<T>(
  path: string,
  file: Blob,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<T> {
  const { Authorization } = await authorization(true);
  return await new Promise((resolve, reject) => {
    const http = new XMLHttpRequest();
    http.open('POST', path);
    http.setRequestHeader('Authorization', Authorization);
    http.setRequestHeader('Content-Type', 'application/octet-stream');
    http.responseType = 'json';
    http.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    const stop = () => http.abort();
    signal.addEventListener('abort', stop);
    http.onloadend = () => {
      signal.removeEventListener('abort', stop);
      if (signal.aborted) return reject(new DOMException('stopped', 'AbortError'));
      if (http.status >= 200 && http.status < 300) return resolve(http.response as T);
      if (http.status !== 0) return reject(refused(http.status, http.response));
      tellReach(false);
      reject(new ApiError(0, { message: t('The connection to Loam’s server was lost; nothing was stored.') }));
    };
    http.send(file);
  });
}

interface DownloadOptions {
  /** Of a request that has one. */
  body?: unknown;
  /** What becomes of the file; by default it is saved. */
  to?: (content: Blob, name: string) => unknown;
}

/** An answer of the server as a file, under the name that the server gives or `fallback`. */
export async function download(
  path: string,
  fallback: string,
  { body, to = saveFile }: DownloadOptions = {},
): Promise<void> {
  const response = await request(body === undefined ? 'GET' : 'POST', path, { body });
  const named = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')?.[1];
  await to(await response.blob(), named ?? fallback);
}

export function saveFile(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

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
  yield* answerOf<T>(await request('POST', path, { body, signal, accept: EVENT_STREAM }));
}

/** Listens to one that is being given. Throws as `ask` does. */
export async function* listen<T extends { type: string }>(
  path: string,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  yield* answerOf<T>(await request('GET', path, { signal, accept: EVENT_STREAM }));
}

async function* answerOf<T extends { type: string }>(response: Response): AsyncGenerator<T, void, void> {
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
    throw new ApiError(0, { message: t('The answer broke off: the connection to Loam’s server was lost.') });
  }
}

interface Follower {
  /** What happened since this event is told too. */
  after?: string;
  /** `id` is 0 for an event of this moment only, which is not sent again. */
  onEvent: (id: number, data: unknown) => void;
  /** Asked when the server closes the stream: whether the job is over, or the stream only broke. */
  isOver?: () => boolean;
  /** Asked when the page is hidden: whether the person wants to hear of it all the same. */
  alsoHidden?: () => boolean;
}

/** A stream from which nothing came for this long, in milliseconds, is dead, even if the browser has not noticed. */
const SILENCE = 45_000;
/** Milliseconds of work on events before others have their turn. */
const TURN = 20;
/** Milliseconds: until something wakes the stream. */
const LONG = 3_600_000;

/**
 * Follows a stream until the function that it returns is called: reconnects after a break and continues after the last event it
 * received. While the page is hidden it holds no connection: browsers allow six a server, for all their tabs together, and a phone's
 * battery is small.
 */
export function follow(path: string, follower: Follower): () => void {
  let lastId = follower.after ?? '';
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
  const visible = () => document.visibilityState === 'visible' || follower.alsoHidden?.() === true;
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
        headers: { ...(await authorization()), Accept: EVENT_STREAM, ...(lastId && { 'Last-Event-ID': lastId }) },
        signal: abort.signal,
      });
      tellReach(true, response.status);
      if (response.status === 401 && attempt === 0) {
        forgetSession();
        return true;
      }
      // 4xx: asking again gives the same answer (locked, deleted); the page that asked learns of it by its other calls.
      if (!response.ok) return response.status >= 500;
      attempt = 0;
      let since = performance.now();
      for await (const { id, own, data } of eventsOf(response, alive)) {
        // The events of a long run come at once: the person's presses have their turn between them.
        if (performance.now() - since > TURN) {
          await new Promise((resolve) => setTimeout(resolve));
          since = performance.now();
        }
        if (abort.signal.aborted) return true;
        if (id) lastId = id;
        // "N" or "EPOCH-N": numbers grow within an epoch, and a new epoch begins with a reset.
        follower.onEvent(own ? Number(/\d+$/.exec(id)?.[0] ?? 0) : 0, JSON.parse(data));
      }
      return !follower.isOver?.();
    } catch (error) {
      // Not let in: the page asks for the link, and begins anew when it has it.
      if (error instanceof ApiError) return false;
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
