import { join } from 'node:path';
import { LoamError } from '../base/errors.js';
import { awaitLock, lockedBy } from '../base/lock.js';
import { readOwn } from '../base/ownFiles.js';
import { loamHome } from '../base/process.js';
import type { Vault } from '../store/Vault.js';
import type { ApiKey, KeyInput, NewApiKey } from './contract/access.js';
import type { Adapter } from './contract/adapters.js';
import { type ErrorBody, loamCode } from './contract/errors.js';
import type { Job, JobRules } from './contract/jobs.js';
import { openSession } from './http/access.js';
import { ApiKeys, serverFolder } from './http/apiKeys.js';
import { isFinal, viewJob } from './jobs/Job.js';
import { JobQueue } from './jobs/JobQueue.js';

/** Jobs and API keys for programs other than the server: through it if it runs, because it holds them and works on them. */

/** The jobs of the vault: the server's if one runs, otherwise as they were left. */
export interface Jobs {
  /** Whether a server runs, which works on them. */
  served: boolean;
  /** Oldest first. */
  list(): Promise<Job[]>;
  pause(id: string): Promise<Job>;
  resume(id: string, how: { restart?: boolean; now?: boolean }): Promise<Job>;
  cancel(id: string, keep: boolean): Promise<Job>;
  remove(id: string): Promise<void>;
  /** When jobs may run on this device. */
  rules(): Promise<JobRules>;
  /** In place of all rules before. */
  setRules(rules: JobRules): Promise<void>;
}

/** @param openVault called only if no server has it open */
export async function withJobs<T>(openVault: () => Promise<Vault>, use: (jobs: Jobs) => Promise<T>): Promise<T> {
  const server = await findServer(loamHome());
  if ('request' in server) {
    const post = (id: string, what: string, body: object) =>
      server.request<Job>('POST', `/api/jobs/${id}/${what}`, body);
    return await use({
      served: true,
      list: async () => (await server.request<{ jobs: Job[] }>('GET', '/api/jobs')).jobs.reverse(),
      pause: (id) => post(id, 'pause', {}),
      resume: (id, how) => {
        const given = Object.entries(how).flatMap(([name, value]) => (value ? [`${name}=true`] : []));
        return post(id, `resume?${given.join('&')}`, {});
      },
      cancel: (id, keep) => post(id, 'cancel', { keep }),
      remove: async (id) => {
        await server.request('DELETE', `/api/jobs/${id}`);
      },
      rules: () => server.request<JobRules>('GET', '/api/rules'),
      setRules: async (rules) => {
        await server.request('POST', '/api/rules', rules);
      },
    });
  }
  try {
    await using vault = await openVault();
    await using queue = await JobQueue.open(loamHome(), vault);
    return await use({
      served: false,
      list: async () => queue.list().map(viewJob),
      pause: async (id) => viewJob(await queue.pause(id)),
      resume: async (id, how) => viewJob(await queue.resume(id, how)),
      cancel: async (id, keep) => viewJob(await queue.cancel(id, { keep })),
      remove: (id) => queue.remove(id),
      rules: () => queue.gate.rules(),
      setRules: (rules) => queue.gate.set(rules),
    });
  } finally {
    await server.release();
  }
}

/**
 * Deletes something through the server if one has the vault: it ends the jobs that learn from it. Without one, or with one that cannot
 * (it hangs, or its vault is locked), the vault itself sees to it that no job adds what was deleted.
 * @param path of the API, for DELETE
 */
export async function deleteBesideServer(vault: Vault, path: string, alone: () => Promise<void>): Promise<void> {
  const server = await findServer(loamHome()).catch(() => undefined);
  if (server && 'request' in server) {
    try {
      await server.request('DELETE', path);
      return;
    } catch (error) {
      // What it could not do is tried here; what it refused is refused here too.
      if (error instanceof LoamError && error.code === 'not-found') throw error;
    }
  }
  try {
    await alone();
    await vault.runKeys.removeStray(loamHome());
  } finally {
    if (server && 'release' in server) await server.release();
  }
}

/** Does what no server may have the vault open for. @throws LoamError: busy, if one runs */
export async function withoutServer<T>(what: string, work: () => Promise<T>): Promise<T> {
  const server = await findServer(loamHome());
  if ('request' in server) {
    throw new LoamError({
      code: 'busy',
      found: `\`loam serve\` has the vault open, so ${what} from here`,
      fix: 'do it on its page, under Settings, or stop it first',
    });
  }
  try {
    return await work();
  } finally {
    await server.release();
  }
}

/** API keys for the command line, and the names of adapters that a key may be limited to. */
export interface KeyDesk {
  list(): Promise<ApiKey[]>;
  add(key: KeyInput): Promise<NewApiKey>;
  revoke(id: string): Promise<void>;
  adapters(): Promise<{ id: string; name: string }[]>;
}

/** Asks the server, which has the keys in memory, or works on what the next one will read. @param openVault called for adapters only */
export async function withKeys<T>(openVault: () => Promise<Vault>, use: (keys: KeyDesk) => Promise<T>): Promise<T> {
  const server = await findServer(loamHome());
  if ('request' in server) {
    return await use({
      list: async () => (await server.request<{ keys: ApiKey[] }>('GET', '/api/keys')).keys,
      add: (key) => server.request('POST', '/api/keys', key),
      revoke: async (id) => {
        await server.request('DELETE', `/api/keys/${id}`);
      },
      adapters: async () => (await server.request<{ adapters: Adapter[] }>('GET', '/api/adapters')).adapters,
    });
  }
  try {
    const keys = await ApiKeys.open(loamHome());
    return await use({
      list: async () => keys.list(),
      add: (key) => keys.add(key),
      revoke: async (id) => {
        await keys.revoke(id);
      },
      async adapters() {
        await using vault = await openVault();
        return vault.adapters.list();
      },
    });
  } finally {
    await server.release();
  }
}

/** The job that an argument names: its id, the beginning of it, or the name of its adapter if that is one job's. Throws LoamError. */
export async function findJob(jobs: Jobs, argument: string): Promise<Job> {
  const all = await jobs.list();
  const found = all.filter(({ id }) => id === argument || (argument.length >= 4 && id.startsWith(argument)));
  const named = all.filter(({ name }) => name === argument);
  const open = named.filter(({ state }) => !isFinal(state));
  const fits = found.length > 0 ? found : named.length > 1 && open.length === 1 ? open : named;
  if (fits.length === 1) return fits[0]!;
  throw new LoamError({
    code: fits.length === 0 ? 'not-found' : 'usage',
    found: fits.length === 0 ? `there is no job "${argument}"` : `"${argument}" means ${fits.length} jobs`,
    expected: fits.length === 0 ? undefined : `one of ${fits.map(({ id }) => id.slice(0, 8)).join(', ')}`,
    fix: 'see loam jobs list',
  });
}

/** Milliseconds that a server on this device may take to say that it is there. */
const ANSWER_MS = 5000;

/** Asks the server of the same user: its vault is open, its passphrase typed. */
interface ServerClient {
  /** Where it answers: "http://127.0.0.1:4184". */
  base: string;
  /** @throws LoamError with what the server said */
  request<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<T>;
  /** A file of its page; undefined if it has none of that address. */
  page(path: string): Promise<string | undefined>;
}

/** Bytes of the largest file that can be what a server has written of itself. */
const INFO_BYTES = 4096;

/**
 * The server that serves this folder; if none runs, its lock, which keeps one from starting until it is released.
 * @throws LoamError if there is a server that cannot be reached
 */
export async function findServer(home: string): Promise<ServerClient | { release: () => Promise<void> }> {
  const path = join(serverFolder(home), 'server.lock');
  const lock = await awaitLock(path).catch((error: unknown) => {
    // On a disk that is read-only or full: a lock that is there would have been seen.
    if (!(error instanceof LoamError) || !['unwritable', 'disk-full'].includes(error.code)) throw error;
    return { release: async () => {} };
  });
  if ('release' in lock) return lock;
  const silent = lockedBy(path, lock, 'serves this folder and does not answer');
  const info = readOwn(join(serverFolder(home), 'server.json'), INFO_BYTES);
  const base = readBase(info?.toString('utf8') ?? '', lock.heldBy);
  if (base === undefined) throw silent;
  // Whatever has the port now: a session is named, and anything asked, only once it has shown that it is our server.
  const signal = AbortSignal.timeout(ANSWER_MS);
  const token = await openSession(home, base, signal).catch(() => undefined);
  if (token === undefined) throw silent;
  const send = async (method: string, path: string, body: unknown) =>
    await fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      redirect: 'error',
    });
  return {
    base,
    async page(path) {
      const answer = await send('GET', path, undefined);
      return answer.ok ? await answer.text() : undefined;
    },
    async request<T>(method: string, path: string, body?: unknown): Promise<T> {
      const answer = await send(method, path, body);
      const value = (await answer.json()) as T & Partial<ErrorBody>;
      if (answer.ok) return value;
      const { code, message, ...fault } = value.error ?? {};
      throw new LoamError({ found: message ?? `the server answered ${answer.status}`, ...fault, code: loamCode(code) });
    },
  };
}

/** Where the process that holds the lock listens, in this device. */
function readBase(text: string, holder: number): string | undefined {
  try {
    const { pid, port, host } = JSON.parse(text) as { pid?: unknown; port?: unknown; host?: unknown };
    if (pid !== holder || !Number.isInteger(port) || !/^(\[[0-9a-f:]+\]|[\d.]+)$/.test(String(host))) return undefined;
    return new URL(`http://${host}:${port}`).origin;
  } catch {
    return undefined;
  }
}
