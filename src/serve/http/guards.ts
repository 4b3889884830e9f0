import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { writeFileAtomic } from '../../base/io.js';
import { HttpError } from './errors.js';

/** Whom a server answers. */
export interface Guard {
  /** Values of the Host header, lower case: a page of another name that resolves to this device (DNS rebinding) has another. */
  readonly hosts: ReadonlySet<string>;
  readonly token: string;
}

/**
 * What every request must satisfy, whatever its address: before a body is read and before a handler runs.
 * @throws HttpError: foreign-host, foreign-origin
 */
export function checkOrigin(
  { headers, rawHeaders }: Pick<IncomingMessage, 'headers' | 'rawHeaders'>,
  guard: Guard,
): void {
  const host = headers.host?.toLowerCase();
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (host === undefined || hosts !== 1 || !guard.hosts.has(host)) {
    throw new HttpError('foreign-host', 'this server does not answer to that host name');
  }
  // Browsers name the page that a request comes from; other programs send no Origin.
  const { origin } = headers;
  if (origin !== undefined && !isOwn(origin, guard)) {
    throw new HttpError('foreign-origin', 'requests from other origins are refused');
  }
  const site = headers['sec-fetch-site'];
  // A link in another page, clicked by the user, may open this one: nothing but the page's files comes of it.
  const opens = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  if ((site === 'cross-site' || site === 'same-site') && !opens) {
    throw new HttpError('foreign-origin', 'requests from other origins are refused');
  }
}

function isOwn(origin: string, guard: Guard): boolean {
  const [, host] = /^http:\/\/([^/]+)$/.exec(origin.toLowerCase()) ?? [];
  return host !== undefined && guard.hosts.has(host);
}

/** @throws HttpError: unauthorized */
export function checkToken({ headers }: Pick<IncomingMessage, 'headers'>, guard: Guard): void {
  const [, given] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  const hash = (text: string) => createHash('sha256').update(text).digest();
  if (given !== undefined && timingSafeEqual(hash(given), hash(guard.token))) return;
  const found = given === undefined ? 'no access token' : 'a wrong access token';
  throw new HttpError('unauthorized', `${found}: open the page by the link that "loam serve" prints`, {
    'www-authenticate': 'Bearer',
  });
}

const TOKEN_BYTES = 24;

/** Where a server keeps what the commands of the same user need to reach it; readable by the user only. */
export function serverFolder(home: string): string {
  return join(home, 'server');
}

/**
 * The token that the page and other programs show: made once, so that an installed page and a chat program's settings go on working
 * after a restart. It guards the server from other programs and pages, not from who can read the user's files.
 * @param renew makes a new one; what knew the old one is locked out
 */
export async function accessToken(home: string, renew = false): Promise<string> {
  const path = join(serverFolder(home), 'token');
  const known = renew ? '' : (await readFile(path, 'latin1').catch(() => '')).trim();
  // 24 bytes in base64url.
  if (/^[A-Za-z0-9_-]{32}$/.test(known)) return known;
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  await writeFileAtomic(path, `${token}\n`);
  return token;
}
