import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { LoamError, UsageError } from '../base/errors.js';
import { writeFileAtomic } from '../base/io.js';
import { tryLock } from '../base/lock.js';
import type { Vault } from '../store/Vault.js';
import { adapterRoutes } from './api/adapters.js';
import { chatRoutes } from './api/chat.js';
import { datasetRoutes } from './api/datasets.js';
import { modelRoutes, statusRoutes } from './api/device.js';
import { jobRoutes, openapiRoute, optionRoutes } from './api/jobs.js';
import { openAiRoutes } from './api/openai.js';
import { settingRoutes, vaultRoutes } from './api/vault.js';
import { accessToken, serverFolder } from './http/guards.js';
import { HttpServer, type StaticFile, staticRoute } from './http/HttpServer.js';
import type { AnyRoute } from './http/route.js';
import { Services } from './Services.js';

/** Every route but those of the page's files. */
export const apiRoutes: readonly AnyRoute<Services>[] = [
  ...statusRoutes,
  ...vaultRoutes,
  ...modelRoutes,
  ...datasetRoutes,
  ...optionRoutes,
  ...jobRoutes,
  ...adapterRoutes,
  ...chatRoutes,
  ...settingRoutes,
  ...openAiRoutes,
  openapiRoute(() => apiRoutes),
];

interface ServerOptions {
  home: string;
  /** 0: any that is free. */
  port: number;
  /** Address to listen on; anything but loopback must be meant. */
  host?: string;
  newToken?: boolean;
  /** Already opened: with the passphrase that the terminal was asked for. */
  vault?: Vault;
  files: ReadonlyMap<string, StaticFile>;
  contentSecurityPolicy: string;
  onBug?: (error: unknown) => void;
}

export interface RunningServer extends AsyncDisposable {
  port: number;
  token: string;
  /** Opens the page: the token stands after the #, which browsers send nowhere. */
  link: string;
  services: Services;
}

const loopback = ['127.0.0.1', 'localhost', '[::1]'];

/** Whether an address can be reached from this device only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Starts the server; one process at a time serves a LOAM_HOME.
 * @throws LoamError where another one does, or the port is taken
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { home, host = '127.0.0.1' } = options;
  const lockPath = join(serverFolder(home), 'server.lock');
  const lock = await tryLock(lockPath);
  if ('heldBy' in lock) {
    throw new LoamError({
      found: `process ${lock.heldBy} is already serving this folder`,
      where: home,
      fix: 'use the page it printed the link of, or stop it first',
    });
  }
  const infoPath = join(serverFolder(home), 'server.json');
  const stack = new AsyncDisposableStackLike();
  try {
    stack.defer(() => lock.release());
    const token = await accessToken(home, options.newToken);
    const services = await Services.open(home, options.vault, options.onBug);
    stack.defer(() => services[Symbol.asyncDispose]());
    const http = new HttpServer({
      routes: [...apiRoutes, staticRoute<Services>(options.files, options.contentSecurityPolicy)],
      context: services,
      token,
      names: isLoopback(host) ? loopback : [...loopback, ...namesOf(host)],
      onBug: options.onBug,
    });
    const port = await http.listen(options.port, host).catch((error: NodeJS.ErrnoException) => {
      throw explain(error, options.port, host);
    });
    stack.defer(() => http[Symbol.asyncDispose]());
    // For `loam jobs`: it asks the server where there is one.
    await writeFileAtomic(infoPath, `${JSON.stringify({ pid: process.pid, port })}\n`);
    services.start();
    const shown = isLoopback(host) ? '127.0.0.1' : namesOf(host)[0]!;
    return {
      port,
      token,
      link: `http://${shown}:${port}/#token=${token}`,
      services,
      [Symbol.asyncDispose]: () => stack.dispose(),
    };
  } catch (error) {
    await stack.dispose();
    throw error;
  }
}

/** Names under which an exposed server is reached. */
function namesOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host.includes(':') ? `[${host}]` : host];
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal }) => !internal)
    .map(({ address, family }) => (family === 'IPv6' ? `[${address}]` : address));
}

function explain(error: NodeJS.ErrnoException, port: number, host: string): unknown {
  if (error.code === 'EADDRINUSE') {
    return new LoamError(
      { found: `port ${port} is in use by another program`, fix: 'choose another one with --port' },
      { cause: error },
    );
  }
  if (error.code === 'EACCES') {
    return new LoamError({ found: `port ${port} is not for users`, expected: 'one above 1023' }, { cause: error });
  }
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return new UsageError({ found: `${host} is not an address of this device`, where: '--host' }, { cause: error });
  }
  return error;
}

/** Disposes of what was deferred, the last first, all of it whatever fails. */
class AsyncDisposableStackLike {
  private readonly steps: (() => Promise<void>)[] = [];

  defer(step: () => Promise<void>): void {
    this.steps.push(step);
  }

  async dispose(): Promise<void> {
    let failed: { error: unknown } | undefined;
    for (const step of this.steps.splice(0).reverse()) {
      await step().catch((error: unknown) => {
        failed ??= { error };
      });
    }
    if (failed) throw failed.error;
  }
}

/** Milliseconds that a server on this device may take to say that it is there. */
const ANSWER_MS = 5000;

/** Asks the server of the same user: its vault is open, its passphrase typed. */
interface ServerClient {
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
