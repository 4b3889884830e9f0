import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { type ErrorCode, type Fault, LoamError, StoppedError, sentence, UsageError } from '../../base/errors.js';
import { writeFileAtomic } from '../../base/io.js';
import { HttpError } from './route.js';

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

interface ErrorBody {
  error: { message: string; code: string } & Partial<Omit<Fault, 'code'>>;
}

const words: Record<number, string> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  405: 'method',
  409: 'conflict',
  413: 'too-large',
  415: 'content-type',
  422: 'refused',
  423: 'locked',
  429: 'busy',
  500: 'bug',
  503: 'stopping',
  507: 'disk-full',
};

/** Codes that clients are told as they are. */
const statusOfCode: Partial<Record<ErrorCode, number>> = { locked: 423, 'wrong-passphrase': 403, 'too-long': 422 };

/** What a client is told of an error, and with which status. Errors that are a bug of ours tell nothing but that. */
export function answerError(error: unknown): {
  status: number;
  body: ErrorBody;
  headers: Readonly<Record<string, string>>;
} {
  if (error instanceof HttpError) {
    const { status, message, code, headers } = error;
    return {
      status,
      body: { error: { message: sentence(message), code: code ?? words[status] ?? 'error' } },
      headers,
    };
  }
  if (error instanceof LoamError) {
    const status = statusOf(error);
    const code = error.code in statusOfCode ? error.code : (words[status] ?? 'error');
    return { status, body: { error: { message: error.message, ...error.fault, code } }, headers: {} };
  }
  return {
    status: 500,
    body: { error: { message: 'An unexpected error, which is a bug in Loam.', code: 'bug' } },
    headers: {},
  };
}

function statusOf(error: LoamError): number {
  const known = statusOfCode[error.code];
  if (known !== undefined) return known;
  if (error.code === 'disk-full') return 507;
  if (error instanceof StoppedError) return 503;
  return error instanceof UsageError ? 400 : 422;
}

interface OpenAiError {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/** The same refusal as `answerError`, in the shape that clients of OpenAI's API read. */
export function answerOpenAiError(error: unknown): {
  status: number;
  body: OpenAiError;
  headers: Readonly<Record<string, string>>;
} {
  const { status, body, headers } = answerError(error);
  const { message, code } = body.error;
  const type =
    status === 401
      ? 'authentication_error'
      : status === 403
        ? 'permission_error'
        : status >= 500
          ? 'server_error'
          : 'invalid_request_error';
  // 422 is not in that API: what it means there is a bad request.
  return {
    status: status === 422 || status === 423 ? 400 : status,
    body: { error: { message, type, param: null, code: openAiCodes[code] ?? code } },
    headers,
  };
}

const openAiCodes: Record<string, string> = {
  unauthorized: 'invalid_api_key',
  'not-found': 'not_found',
  'too-long': 'context_length_exceeded',
};
