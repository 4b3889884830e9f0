import type { DatasetInfo } from '../../serve/contract/datasets.js';
import type { ApiErrorCode, ApiFault, ErrorBody } from '../../serve/contract/errors.js';
import { keep, readKept } from './browser.js';

/** Calls to the server's API: the token that opens it, requests, refusals, uploads and downloads. */

/**
 * The token that the server printed. It comes in the link's fragment, which browsers send to no server, and is kept for this origin so
 * that the installed page opens without the link.
 */
const tokenName = 'loam-token';
let token = readKept(tokenName);

export function getToken(): string | null {
  return token;
}

export function setToken(next: string | null): void {
  token = next;
  keep(tokenName, next);
}

/** From what a person pasted: the whole link or the bare token. */
export function tokenFrom(text: string): string {
  const match = /token=([^&\s]+)/.exec(text);
  return decodeURIComponent(match ? match[1]! : text.trim());
}

/** Takes the token out of the address, so that it is in no bookmark and no screenshot. */
export function takeToken(): void {
  if (!/[#&]token=./.test(location.hash)) return;
  setToken(tokenFrom(location.hash));
  history.replaceState(null, '', location.pathname);
}

/** What the server refused, in its own words; status 0 when it could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: ApiErrorCode | undefined;
  constructor(status: number, { message, code }: Partial<ApiFault>) {
    super(message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = code;
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

export function tellReach(reached: boolean, status = 0): void {
  for (const listener of listeners) listener(reached, status);
}

/** What every request has in common, beside its headers: no cookie, no cache. */
export const requestInit = { cache: 'no-store', credentials: 'omit', redirect: 'error' } as const;

export function authorization(): { Authorization: string } {
  return { Authorization: `Bearer ${token ?? ''}` };
}

interface CallOptions {
  body?: unknown;
  signal?: AbortSignal;
  accept?: string;
}

/** One request; throws ApiError. */
export async function request(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { body, signal, accept = '*/*' } = options;
  let response: Response;
  try {
    response = await fetch(path, {
      ...requestInit,
      method,
      headers: {
        ...authorization(),
        Accept: accept,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    tellReach(false);
    throw new ApiError(0, { message: 'Loam’s server is not responding. Start it with “loam serve”.' });
  }
  tellReach(true, response.status);
  if (!response.ok) throw refused(response.status, await response.json().catch(() => null));
  return response;
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
export function upload<T>(
  path: string,
  file: Blob,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const http = new XMLHttpRequest();
    http.open('POST', path);
    http.setRequestHeader('Authorization', authorization().Authorization);
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
      reject(new ApiError(0, { message: 'The connection to Loam’s server was lost; nothing was stored.' }));
    };
    http.send(file);
  });
}

/** Saves an answer of the server as a file, under the name that the server gives or `fallback`. */
export async function download(path: string, fallback: string): Promise<void> {
  const response = await request('GET', path);
  const named = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')?.[1];
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement('a');
  link.href = url;
  link.download = named ?? fallback;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Names that are tried before giving up. */
const TRIES = 20;

/** Stores bytes as a data set; if the name is taken, as "Name 2", "Name 3". */
export async function addDataset(
  name: string,
  bytes: Blob,
  onProgress: (share: number) => void = () => {},
  signal: AbortSignal = new AbortController().signal,
): Promise<DatasetInfo> {
  for (let n = 1; ; n++) {
    try {
      const tried = n === 1 ? name : `${name} ${n}`;
      return await upload(`/api/datasets?name=${encodeURIComponent(tried)}`, bytes, onProgress, signal);
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 'name-taken') || n >= TRIES) throw error;
    }
  }
}
