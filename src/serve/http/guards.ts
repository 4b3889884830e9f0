import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from './access.js';
import { HttpError } from './errors.js';
import type { Hosts } from './hosts.js';

/** What of a request is looked at before anything else. */
type Asked = Pick<IncomingMessage, 'headers' | 'rawHeaders'> & { socket: { localAddress?: string } };

/**
 * What every request must satisfy, whatever its address: before a body is read and before a handler runs.
 * @returns the origin of an app that the owner lets in, if it is one's: what it asks for needs an API key
 * @throws HttpError: foreign-host, foreign-origin
 */
export function checkOrigin({ headers, rawHeaders, socket }: Asked, hosts: Hosts): string | undefined {
  const host = headers.host?.toLowerCase();
  const named = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (host === undefined || named !== 1 || !hosts.has(host, socket.localAddress)) {
    throw new HttpError(
      'foreign-host',
      'this server does not answer to that host name; its owner can let the name in: loam serve --allow-host NAME',
    );
  }
  // Browsers name the page that a request comes from; other programs send no Origin.
  const { origin } = headers;
  if (origin !== undefined && hosts.hasApp(origin)) return origin;
  if (origin !== undefined && !hosts.hasOrigin(origin, socket.localAddress)) {
    throw new HttpError(
      'foreign-origin',
      'requests from other origins are refused; its owner can let an app in: loam serve --allow-origin ORIGIN',
    );
  }
  const site = headers['sec-fetch-site'];
  // A link in another page, clicked by the user, may open this one: nothing but the page's files comes of it.
  const opens = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  if ((site === 'cross-site' || site === 'same-site') && !opens) {
    throw new HttpError('foreign-origin', 'requests from other origins are refused');
  }
  return undefined;
}

/** Seconds for which a browser need not ask again. */
const PREFLIGHT_SECONDS = 600;

/**
 * Lets a browser hand the answer to an app of this origin: without cookies, which Loam has none of, and to no other origin.
 * @returns whether it was only asked if a request may come, which is answered with that
 */
export function answerApp(
  { method, headers }: Pick<IncomingMessage, 'method' | 'headers'>,
  response: ServerResponse,
  origin: string,
): boolean {
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('vary', 'origin');
  if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return false;
  response.setHeader('access-control-allow-methods', 'GET, POST');
  const asked = String(headers['access-control-request-headers'] ?? '');
  if (/^[\w, -]+$/.test(asked)) response.setHeader('access-control-allow-headers', asked);
  response.setHeader('access-control-max-age', String(PREFLIGHT_SECONDS));
  // A page of the internet asks a device of the user's.
  if (headers['access-control-request-private-network'] === 'true') {
    response.setHeader('access-control-allow-private-network', 'true');
  }
  response.writeHead(204).end();
  return true;
}

/** An app comes with a key of its own; the page's session, should it have got hold of one, is none. @throws HttpError: foreign-origin */
export function requireKey(app: string | undefined, caller: Caller | undefined): void {
  if (app === undefined || caller?.key) return;
  throw new HttpError(
    'foreign-origin',
    'apps of other origins need an API key; their owner makes one with "loam keys add"',
  );
}
