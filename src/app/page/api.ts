import type { DatasetInfo } from '../../serve/contract/datasets.js';

/**
 * The token that the server printed. It comes in the link's fragment, which browsers send to no server, and is kept for this origin so
 * that the installed page opens without the link.
 */
const key = 'loam-token';

let current: string | null = read();

function read(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    // Storage may be switched off; then the token lives as long as the page.
    return null;
  }
}

/** Takes the token out of the address, so that it is in no bookmark and no screenshot. */
export function takeToken(): void {
  const match = /[#&]token=([^&]+)/.exec(location.hash);
  if (!match) return;
  setToken(decodeURIComponent(match[1]!));
  history.replaceState(null, '', location.pathname);
}

/** From what a person pasted: the whole link or the bare token. */
export function tokenFrom(text: string): string {
  const match = /token=([^&\s]+)/.exec(text);
  return decodeURIComponent(match ? match[1]! : text.trim());
}

export function setToken(token: string | null): void {
  current = token;
  try {
    if (token === null) localStorage.removeItem(key);
    else localStorage.setItem(key, token);
  } catch {
    // As above.
  }
}

export function getToken(): string | null {
  return current;
}

/** Calls of the server's API. */

export interface Fault {
  code?: string;
  message?: string;
  found?: string;
  expected?: string;
  fix?: string;
}

/** What the server refused, in its own words; status 0 when it could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly fault: Fault;
  constructor(status: number, fault: Fault) {
    super(fault.message ?? fault.found ?? `the server answered ${status}`);
    this.status = status;
    this.fault = fault;
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** Who wants to know how the last request went: the banner that says the server is gone. */
const listeners = new Set<(reached: boolean, status: number) => void>();
export function onReach(listener: (reached: boolean, status: number) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
export function tellReach(reached: boolean, status: number): void {
  for (const listener of listeners) listener(reached, status);
}

export function headers(): Record<string, string> {
  return { Authorization: `Bearer ${getToken() ?? ''}` };
}

interface CallOptions {
  body?: unknown;
  signal?: AbortSignal;
}

/** One request; throws ApiError. */
export async function request(method: string, path: string, { body, signal }: CallOptions = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: { ...headers(), ...(body !== undefined && { 'Content-Type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    tellReach(false, 0);
    throw new ApiError(0, { message: 'Loam’s server does not answer.', fix: 'start it with `loam serve`' });
  }
  tellReach(true, response.status);
  if (!response.ok) throw new ApiError(response.status, await readFault(response));
  return response;
}

export async function call<T>(method: string, path: string, options?: CallOptions): Promise<T> {
  const response = await request(method, path, options);
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

export async function readFault(response: Response): Promise<Fault> {
  try {
    return faultOf(await response.json(), response.status);
  } catch {
    return { message: `the server answered ${response.status} ${response.statusText}` };
  }
}

function faultOf(answer: unknown, status: number): Fault {
  const error = (answer as { error?: unknown } | null)?.error;
  if (typeof error === 'string') return { message: error };
  if (typeof error === 'object' && error !== null) return error as Fault;
  return { message: `the server answered ${status}` };
}

/** Sends bytes as they are, with progress, which fetch cannot tell. `onProgress` gets a share from 0 to 1. */
export function upload<T>(
  path: string,
  file: Blob,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const http = new XMLHttpRequest();
    http.open('POST', path);
    http.setRequestHeader('Authorization', headers().Authorization!);
    http.setRequestHeader('Content-Type', 'application/octet-stream');
    http.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    const stop = () => http.abort();
    signal.addEventListener('abort', stop);
    http.onloadend = () => {
      signal.removeEventListener('abort', stop);
      if (signal.aborted) return reject(new DOMException('stopped', 'AbortError'));
      if (http.status === 0) {
        tellReach(false, 0);
        return reject(new ApiError(0, { message: 'The connection to Loam’s server broke off; nothing was stored.' }));
      }
      let answer: unknown;
      try {
        answer = JSON.parse(http.responseText);
      } catch {
        answer = undefined;
      }
      if (http.status >= 200 && http.status < 300) resolve(answer as T);
      else reject(new ApiError(http.status, faultOf(answer, http.status)));
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

/** Tries at another name before the person is asked. */
const TRIES = 20;

/** Stores bytes as a data set; where the name is taken, as "Name 2", "Name 3". */
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
      if (!(error instanceof ApiError && error.fault.code === 'name-taken') || n >= TRIES) throw error;
    }
  }
}

/** Times as people say them. */
const day = 86_400_000;

export function when(iso: string, now = Date.now()): string {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return '';
  const date = new Date(time);
  const clock = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (time >= midnight) return `today, ${clock}`;
  if (time >= midnight - day) return `yesterday, ${clock}`;
  return date.toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

/** "1 example", "3,000 examples". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en-US')} ${n === 1 ? one : many}`;
}

/** A rough time: "about 4 minutes". */
export function roughly(seconds: number): string {
  if (seconds < 8) return 'a few seconds';
  if (seconds < 50) return `about ${Math.round(seconds / 10) * 10} seconds`;
  if (seconds < 90) return 'about a minute';
  if (seconds < 3_300) return `about ${Math.round(seconds / 60)} minutes`;
  const hours = seconds / 3_600;
  return hours < 1.25 ? 'about an hour' : `about ${Number(hours.toFixed(hours < 5 ? 1 : 0))} hours`;
}

/** Bytes as people weigh them: "612 MB", "1.4 GB". */
export function size(n: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = n;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
