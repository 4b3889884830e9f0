import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError } from '../util/errors.js';
import { tryLock } from '../util/tryLock.js';
import { accessToken, serverFolder } from './accessToken.js';

/** Milliseconds that a server on this device may take to say that it is there. */
const ANSWER_MS = 5000;

/** Asks the server of the same user: its vault is open, its passphrase typed. */
export interface ServerClient {
  /** @throws LoamError with what the server said */
  request<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<T>;
}

/**
 * The server that serves this folder; where none runs, its lock, which keeps one from starting until it is released.
 * @throws LoamError where there is a server that cannot be reached
 */
export async function findServer(home: string): Promise<ServerClient | { release: () => Promise<void> }> {
  const lock = await tryLock(join(serverFolder(home), 'server.lock'));
  if ('release' in lock) return lock;
  const silent = new LoamError({
    found: `process ${lock.heldBy} serves this folder and does not answer`,
    where: home,
    fix: 'try again in a moment, or stop it first',
  });
  const text = await readFile(join(serverFolder(home), 'server.json'), 'utf8').catch(() => '');
  // The token goes to the process that holds the lock and to no other.
  const port = readPort(text, lock.heldBy);
  if (port === undefined) throw silent;
  const token = await accessToken(home);
  const base = `http://127.0.0.1:${port}`;
  const send = async (method: string, path: string, body: unknown, signal?: AbortSignal) =>
    await fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      redirect: 'error',
    });
  try {
    await (await send('GET', '/api/status', undefined, AbortSignal.timeout(ANSWER_MS))).arrayBuffer();
  } catch {
    throw silent;
  }
  return {
    async request<T>(method: string, path: string, body?: unknown): Promise<T> {
      const answer = await send(method, path, body);
      const value = (await answer.json()) as T & {
        error?: { message?: string; found?: string; fix?: string; where?: string };
      };
      if (answer.ok) return value;
      const { found, message, fix, where } = value.error ?? {};
      throw new LoamError({
        found: found ?? message?.replace(/\.$/, '') ?? `the server answered ${answer.status}`,
        fix,
        where,
      });
    },
  };
}

function readPort(text: string, holder: number): number | undefined {
  try {
    const { port, pid } = JSON.parse(text) as { port?: unknown; pid?: unknown };
    if (pid !== holder) return undefined;
    return Number.isInteger(port) && (port as number) > 0 && (port as number) < 65536 ? (port as number) : undefined;
  } catch {
    return undefined;
  }
}
