import { join } from 'node:path';
import { LoamError, quote, UsageError } from '../base/errors.js';
import { writeFileAtomic } from '../base/io.js';
import { leaveNoCore } from '../engine/core.js';
import { Vault } from '../store/Vault.js';
import { adapterRoutes } from './api/adapters.js';
import { chatRoutes } from './api/chat.js';
import { datasetRoutes } from './api/datasets.js';
import { modelRoutes, statusRoutes } from './api/device.js';
import { embeddingRoutes } from './api/embeddings.js';
import { feedbackRoutes } from './api/feedback.js';
import { jobRoutes } from './api/jobs.js';
import { keyRoutes } from './api/keys.js';
import { messageRoutes } from './api/messages.js';
import { openAiRoutes } from './api/openai.js';
import { responseRoutes } from './api/responses.js';
import { uploadRoutes } from './api/uploads.js';
import { settingRoutes, vaultRoutes } from './api/vault.js';
import { Access, helloRoute, linkRoute, pairRoute } from './http/access.js';
import { serverFolder } from './http/apiKeys.js';
import { HttpServer, type Page, staticRoute } from './http/HttpServer.js';
import { named, networkNames, requireOrigin } from './http/hosts.js';
import type { AnyRoute } from './http/route.js';
import { openapiRoute } from './openapi.js';
import { holdHome, refusingChanges } from './readOnly.js';
import { Services } from './Services.js';

/** Every route but those of the page's files. */
export const apiRoutes: readonly AnyRoute<Services>[] = [
  helloRoute<Services>(({ access }) => access),
  pairRoute<Services>(({ access }) => access),
  linkRoute<Services>(({ access }) => access),
  ...statusRoutes,
  ...vaultRoutes,
  ...modelRoutes,
  ...datasetRoutes,
  ...jobRoutes,
  ...adapterRoutes,
  ...chatRoutes,
  ...settingRoutes,
  ...feedbackRoutes,
  ...keyRoutes,
  ...uploadRoutes,
  ...openAiRoutes,
  ...embeddingRoutes,
  ...responseRoutes,
  ...messageRoutes,
  openapiRoute(() => apiRoutes),
];

interface ServerOptions {
  home: string;
  /** How it is reached. */
  at: {
    /** 0: any that is free. */
    port: number;
    /** Address to listen on. */
    host?: string;
    /** Whether other devices may reach it. */
    expose?: boolean;
    /** Names besides its addresses under which it answers, such as a proxy's; origins of apps that may ask with an API key. */
    allowed?: { hosts?: readonly string[]; origins?: readonly string[] };
    /** A new pairing secret: every browser has to be paired again. */
    newToken?: boolean;
  };
  /** Opens the vault with a passphrase that was given; called once the server may start. Without it the page asks. */
  openVault?: () => Promise<Vault>;
  page: Page;
  /** Told of errors that are bugs. */
  onBug?: (error: unknown) => void;
}

export interface RunningServer extends AsyncDisposable {
  /** Whether other devices can reach it. */
  exposed: boolean;
  port: number;
  /** A session of the owner's that ends with this server. */
  token: string;
  /** Addresses of the page, the one that others should use first; empty for an exposed server whose addresses the system does not tell. */
  origins: readonly string[];
  /** Opens the page: the pairing secret stands after the #, which browsers send nowhere. */
  link: string;
  services: Services;
  /** Fires if another process serves the folder now: this one was out of its reach, and seemed dead. */
  lost: AbortSignal;
  /** What it refuses every change with, because its folder cannot be written. */
  readOnly: LoamError | undefined;
}

const loopback = ['127.0.0.1', 'localhost', '[::1]'];

/** Whether an address can be reached from this device only. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Starts the server; one process at a time serves a LOAM_HOME.
 * @throws UsageError for an address that others can reach, unless `expose` is set; LoamError if another process serves this folder,
 * or the port is taken. A folder that cannot be written is served as it is, see readOnly.ts
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { home, onBug } = options;
  const { host = '127.0.0.1', expose, allowed = {}, newToken } = options.at;
  if (!isLoopback(host) && !expose) {
    throw new UsageError({
      found: `${host} can be reached from other devices`,
      expected: 'an address of this device alone, such as 127.0.0.1',
      where: '--host',
      fix: 'add --expose if you mean it',
    });
  }
  for (const name of allowed.hosts ?? []) requireHostName(name);
  for (const origin of allowed.origins ?? []) requireOrigin(origin);
  leaveNoCore();
  const hold = await holdHome(home);
  const { readOnly } = hold;
  const infoPath = join(serverFolder(home), 'server.json');
  const stack = new AsyncDisposableStackLike();
  try {
    stack.defer(() => hold.release());
    const access = await Vault.withRoom(home, () => Access.open(home, { renew: newToken, keeps: !readOnly }));
    const services = new Services(home, access, { onBug, readOnly });
    stack.defer(() => services[Symbol.asyncDispose]());
    await services.open(options.openVault);
    const exposed = !isLoopback(host);
    const routes = readOnly ? refusingChanges(apiRoutes, readOnly) : apiRoutes;
    const http = new HttpServer({
      routes: [...routes, staticRoute<Services>(options.page)],
      context: services,
      access,
      hosts: {
        names: [...loopback, ...(isAny(host) ? [] : [named(host)])],
        allowed: allowed.hosts,
        apps: allowed.origins,
        exposed,
      },
      onBug,
      onAsked: () => services.idle.asked(),
    });
    const { port, address } = await http.listen(options.at.port, host).catch((error: NodeJS.ErrnoException) => {
      throw explain(error, options.at.port, host);
    });
    stack.defer(() => http[Symbol.asyncDispose]());
    // For `loam jobs`, which asks the server if there is one.
    const reached = named(isAny(address) ? (address === '::' ? '::1' : '127.0.0.1') : address);
    const info = `${JSON.stringify({ pid: process.pid, port, host: reached })}\n`;
    if (!readOnly) await Vault.withRoom(home, () => writeFileAtomic(infoPath, info));
    services.start();
    const names = isAny(host) ? networkNames() : [reached];
    const origins = names.map((name) => `http://${name}:${port}`);
    return {
      exposed,
      port,
      token: access.session(),
      origins,
      link: `${origins[0] ?? `http://${reached}:${port}`}/#token=${access.pairing}`,
      services,
      lost: hold.lost,
      readOnly,
      [Symbol.asyncDispose]: () => stack.dispose(),
    };
  } catch (error) {
    await stack.dispose();
    throw error;
  }
}

/** Whether a server that listens there is reached at every address of the device. */
function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** @throws UsageError */
function requireHostName(name: string): void {
  if (/^(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]+)(:\d{1,5})?$/iu.test(name)) return;
  throw new UsageError({
    found: quote(name),
    expected: 'a host name, perhaps with a port, such as laptop.local or loam.example:8443',
    where: '--allow-host',
  });
}

function explain(error: NodeJS.ErrnoException, port: number, host: string): unknown {
  if (error.code === 'EADDRINUSE') {
    return new LoamError(
      { code: 'busy', found: `port ${port} is in use by another program`, fix: 'choose another one with --port' },
      { cause: error },
    );
  }
  if (error.code === 'EACCES') {
    return new LoamError(
      { code: 'usage', found: `port ${port} is reserved for the system`, expected: 'one above 1023' },
      { cause: error },
    );
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
