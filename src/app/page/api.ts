/** Calls of the server's API. */
import { getToken } from './session.js';

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

export interface CallOptions {
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

export function faultOf(answer: unknown, status: number): Fault {
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
