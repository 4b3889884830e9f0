import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { LoamError, systemCode } from '../../base/errors.js';
import type { Access, Caller } from './access.js';
import { BodyRoom, checkContentType } from './body.js';
import { Connections } from './connections.js';
import { answerErrorAs, HttpError } from './errors.js';
import { sendEvents } from './events.js';
import { answerApp, checkOrigin, requireKey } from './guards.js';
import { type HostSpec, Hosts } from './hosts.js';
import {
  Answer,
  type AnyRoute,
  type ErrorShape,
  matchRoute,
  nothingAt,
  parseQuery,
  plainPath,
  routesOf,
} from './route.js';

/**
 * Sent with every answer. Answers that are no part of the page are data: opened as a page they may load and run nothing. The page's
 * own files bring a policy of their own, which takes this one's place.
 */
export const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'permissions-policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=()',
};

/** Milliseconds for the headers, and for a whole request: 200 MB over a slow wireless network. */
const HEADERS_MS = 20_000;
const REQUEST_MS = 15 * 60_000;
/** Milliseconds that a connection is kept for the next request. */
const KEEP_ALIVE_MS = 5_000;
/** Connections that the system keeps while we are busy: beyond, a client's first word is lost and said again after a second. */
const BACKLOG = 4096;
/** Milliseconds between two looks at who is late. */
const LOOK_MS = 5_000;

interface HttpServerOptions<Context> {
  routes: readonly AnyRoute<Context>[];
  context: Context;
  access: Pick<Access, 'caller'>;
  hosts: HostSpec;
  /** Told of errors that are bugs. */
  onBug?: (error: unknown) => void;
  /** Told when somebody who may has asked for something; listening to what happens is no asking. */
  onAsked?: () => void;
}

/** Answers requests by the list of routes. Everything that guards a handler is done here, once, for all of them. */
export class HttpServer<Context> implements AsyncDisposable {
  private readonly server: Server;
  private readonly closing = new AbortController();
  private readonly connections = new Connections();
  private readonly room = new BodyRoom();
  private hosts = new Hosts({ names: [] }, 0);

  constructor(private readonly options: HttpServerOptions<Context>) {
    this.server = createServer({
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: LOOK_MS,
    });
    this.server.on('connection', (socket) => this.connections.add(socket));
    this.server.on('request', (request, response) => {
      this.serve(request, response).catch((error: unknown) => {
        this.options.onBug?.(error);
        response.destroy();
      });
    });
  }

  /** @returns where it listens @throws NodeJS.ErrnoException such as EADDRINUSE */
  async listen(port: number, address = '127.0.0.1'): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ port, host: address, exclusive: true, backlog: BACKLOG }, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    const bound = this.server.address() as AddressInfo;
    this.hosts = new Hosts(this.options.hosts, bound.port);
    return bound;
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const controller = new AbortController();
    const abort = () => controller.abort();
    response.on('close', abort);
    this.closing.signal.addEventListener('abort', abort);
    // A client that goes is no error.
    request.on('error', () => {});
    response.on('error', () => {});
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    const { socket } = request;
    const taken: (() => void)[] = [];
    let over = false;
    /** What is given back when the request is answered, or its client has gone. */
    const release = (give: () => void) => void (over ? give() : taken.push(give));
    this.connections.asks(socket);
    response.on('close', () => {
      over = true;
      for (const give of taken.splice(0)) give();
      this.connections.rests(socket);
    });
    const [asked = '/', search = ''] = split(request.url ?? '/');
    const path = plainPath(asked);
    let route: AnyRoute<Context> | undefined;
    try {
      const app = checkOrigin(request, this.hosts);
      if (app !== undefined && answerApp(request, response, app)) return;
      const { match, caller } = this.admit(request, path);
      requireKey(app, caller);
      route = match.route;
      if (caller) release(this.connections.vouch(socket, caller));
      if (caller && !('events' in route.response && route.method === 'GET')) this.options.onAsked?.();
      const kind = checkContentType(request, route);
      const query = parseQuery(route.query, new URLSearchParams(search));
      const { body, bytes } = await this.room.read(request, route, kind, release);
      const { headers } = request;
      const { signal } = controller;
      const { params } = match;
      const handled = { params, query, body, bytes, headers, method: request.method!, key: caller?.key, signal };
      const answer = await route.handler(handled, this.options.context);
      const whole = answer instanceof Answer ? answer : Answer.json(answer);
      if (whole.content.kind === 'events') this.connections.streams(socket);
      await this.send(response, whole, request.method === 'HEAD', signal);
    } catch (error) {
      this.refuse(request, response, error, route?.errors ?? this.shapeAt(path));
    } finally {
      this.closing.signal.removeEventListener('abort', abort);
    }
  }

  /**
   * The route of an address, for those who may use it. Whether an address exists is not for others to know.
   * @throws HttpError: unauthorized, key-limited, address, method
   */
  private admit(request: IncomingMessage, path: string) {
    const find = () => matchRoute(this.options.routes, request.method ?? 'GET', path);
    const isData = /^\/(api|v1)\//.test(path) || this.options.routes.some((one) => !one.open && one.path === path);
    let caller: Caller | undefined;
    const known = isData ? this.options.routes.find((one) => one.open && one.path === path) : undefined;
    if (isData && !known) caller = this.options.access.caller(request);
    const match = find();
    if (!match.route.open) caller ??= this.options.access.caller(request);
    if (caller?.key && !match.route.open) checkScope(caller.key, match.route);
    return { match, caller };
  }

  private async send(response: ServerResponse, answer: Answer, head: boolean, signal: AbortSignal): Promise<void> {
    const { content, status, headers } = answer;
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (!response.hasHeader('cache-control')) response.setHeader('cache-control', 'no-store');
    if (content.kind === 'events') {
      response.writeHead(status, { 'content-type': 'text/event-stream; charset=utf-8' });
      response.flushHeaders();
      if (!head) await sendEvents(response, content, signal);
      response.end();
      return;
    }
    if (content.kind === 'empty') {
      response.writeHead(status).end();
      return;
    }
    if (content.kind === 'pieces') {
      await sendPieces(response, { ...content, status, head });
      return;
    }
    const bytes = content.kind === 'bytes' ? content.bytes : Buffer.from(JSON.stringify(content.value ?? null));
    const type = content.kind === 'bytes' ? content.type : 'application/json; charset=utf-8';
    response.writeHead(status, { 'content-type': type, 'content-length': String(bytes.length) });
    response.end(head ? undefined : bytes);
  }

  /** Of what is refused before its route is known. */
  private shapeAt(path: string): ErrorShape | undefined {
    const known = this.options.routes.find((route) => route.path === path);
    return known?.errors ?? (path.startsWith('/v1/') ? 'openai' : undefined);
  }

  private refuse(request: IncomingMessage, response: ServerResponse, error: unknown, shape?: ErrorShape): void {
    const { status, body, headers } = answerErrorAs(error, shape);
    if (status === 500) this.options.onBug?.(error);
    if (response.headersSent) {
      // In the middle of a stream: its last event says it, and the connection ends.
      const event = {
        openai: `data: ${JSON.stringify(body)}\n\n`,
        anthropic: `event: error\ndata: ${JSON.stringify(body)}\n\n`,
        own: `event: error\ndata: ${JSON.stringify({ type: 'error', ...body.error })}\n\n`,
      }[shape ?? 'own'];
      if (!response.destroyed) response.end(event);
      return;
    }
    const all: Record<string, string> = {
      ...headers,
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
    };
    // What is left of a body that is not wanted is not read; the client is told to stop sending.
    if (!request.complete) all.connection = 'close';
    const bytes = Buffer.from(JSON.stringify(body));
    response.writeHead(status, { ...all, 'content-length': String(bytes.length) });
    response.end(request.method === 'HEAD' ? undefined : bytes);
    if (!request.complete) drainFor(request, response);
  }

  /** Ends streams and connections, after what is being answered. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.closing.abort();
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
    this.server.closeIdleConnections();
    const late = setTimeout(() => this.server.closeAllConnections(), 2000);
    await closed;
    clearTimeout(late);
  }
}

/** What fails before the first piece is refused as usual; after that the connection breaks, and no client takes a part for the whole. */
async function sendPieces(
  response: ServerResponse,
  { pieces, type, status, head }: { pieces: AsyncIterable<Uint8Array>; type: string; status: number; head: boolean },
): Promise<void> {
  const iterator = pieces[Symbol.asyncIterator]();
  const rest = { [Symbol.asyncIterator]: () => iterator };
  const first = await iterator.next();
  response.writeHead(status, { 'content-type': type });
  const whole = async function* () {
    if (first.done || head) return;
    yield first.value;
    yield* rest;
  };
  try {
    await pipeline(whole, response);
  } catch (error) {
    // A client that goes is no error.
    if (!(error instanceof LoamError) && systemCode(error) !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  } finally {
    await iterator.return?.();
  }
}

/** Milliseconds for which a refused client's input is read and dropped: closing at once could lose it the answer (RFC 9112, 9.6). */
const LINGER_MS = 1000;

function drainFor(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const end = () => request.destroy();
  const timer = setTimeout(end, LINGER_MS);
  request.on('end', () => clearTimeout(timer));
  response.on('close', () => clearTimeout(timer));
}

/** @throws HttpError: key-limited */
function checkScope<C>({ scope }: NonNullable<Caller['key']>, { keys }: AnyRoute<C>): void {
  if (keys === 'chat' || (keys === 'work' && scope === 'work')) return;
  throw new HttpError(
    'key-limited',
    'this API key may not do that: it is for the page and the command line of the owner',
  );
}

function split(url: string): [string, string] {
  const at = url.indexOf('?');
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

/** A file of the page, ready to be sent. */
interface StaticFile {
  body: Uint8Array;
  /** The same, compressed. */
  gzip?: Uint8Array;
  type: string;
  /** With its quotes. */
  etag: string;
  cacheControl: string;
}

export interface Page {
  /** By path. */
  files: ReadonlyMap<string, StaticFile>;
  contentSecurityPolicy: string;
}

/** The page's files, and nothing of the disk. They hold no data, so they come without the token, which the page itself brings. */
export function staticRoute<Context>({ files, contentSecurityPolicy }: Page): AnyRoute<Context> {
  return routesOf<Context>()({
    method: 'GET',
    path: '/{file...}',
    summary: 'The page and its files.',
    open: true,
    response: { bytes: 'the file' },
    async handler({ params, headers }) {
      const file = files.get(`/${params.file}`);
      if (!file) throw new HttpError('address', nothingAt(`/${params.file}`));
      const { etag } = file;
      const sent = {
        etag,
        vary: 'accept-encoding',
        'cache-control': file.cacheControl,
        'content-security-policy': contentSecurityPolicy,
      };
      const known = (headers['if-none-match'] ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
      if (known.includes(etag)) return Answer.empty(304, sent);
      if (file.gzip && acceptsGzip(headers['accept-encoding'])) {
        return Answer.bytes(file.gzip, file.type, { ...sent, 'content-encoding': 'gzip' });
      }
      return Answer.bytes(file.body, file.type, sent);
    },
  });
}

function acceptsGzip(header: string | string[] | undefined): boolean {
  const codings = String(header ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim());
  return codings.some((coding) => /^(gzip|\*)($|;)/.test(coding) && !/;\s*q=0(\.0*)?$/.test(coding));
}
