import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { HttpError } from './HttpError.js';

/** Whom a server answers. */
export interface Guard {
  /** Values of the Host header, lower case: a page of another name that resolves to this device (DNS rebinding) has another. */
  readonly hosts: ReadonlySet<string>;
  readonly token: string;
}

/**
 * What every request must satisfy, whatever its address: before a body is read and before a handler runs.
 * @throws HttpError 403 for a foreign Host or Origin
 */
export function checkOrigin(
  { headers, rawHeaders }: Pick<IncomingMessage, 'headers' | 'rawHeaders'>,
  guard: Guard,
): void {
  const host = headers.host?.toLowerCase();
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (host === undefined || hosts !== 1 || !guard.hosts.has(host)) {
    throw new HttpError(403, 'this server does not answer to that host name', 'foreign-host');
  }
  // Browsers name the page that a request comes from; other programs send no Origin.
  const { origin } = headers;
  if (origin !== undefined && !isOwn(origin, guard)) {
    throw new HttpError(403, 'pages of other origins are not answered', 'foreign-origin');
  }
  const site = headers['sec-fetch-site'];
  // A link in another page, clicked by the user, may open this one: nothing but the page's files comes of it.
  const opens = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  if ((site === 'cross-site' || site === 'same-site') && !opens) {
    throw new HttpError(403, 'pages of other origins are not answered', 'foreign-origin');
  }
}

function isOwn(origin: string, guard: Guard): boolean {
  const [, host] = /^http:\/\/([^/]+)$/.exec(origin.toLowerCase()) ?? [];
  return host !== undefined && guard.hosts.has(host);
}

/** @throws HttpError 401 */
export function checkToken({ headers }: Pick<IncomingMessage, 'headers'>, guard: Guard): void {
  const [, given] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  const hash = (text: string) => createHash('sha256').update(text).digest();
  if (given !== undefined && timingSafeEqual(hash(given), hash(guard.token))) return;
  const found = given === undefined ? 'no access token' : 'a wrong access token';
  throw new HttpError(401, `${found}: open the page by the link that "loam serve" prints`, undefined, {
    'www-authenticate': 'Bearer',
  });
}
