import type { IncomingMessage } from 'node:http';
import type { TSchema } from 'typebox';
import { HttpError } from './HttpError.js';
import { readBody } from './readBody.js';
import type { AnyRoute } from './route.js';
import { validate } from './validate.js';

/** JSON requests are forms and short texts. */
const JSON_LIMIT = 1 << 20;

/** The media type alone, lower case. */
function mediaType(header: string | undefined): string | undefined {
  return header === undefined ? undefined : header.split(';')[0]!.trim().toLowerCase();
}

/** @throws HttpError 415: before anything of the body is read */
export function checkContentType<C>(
  request: Pick<IncomingMessage, 'headers'>,
  route: AnyRoute<C>,
): 'json' | 'bytes' | 'none' {
  const type = mediaType(request.headers['content-type']);
  const { headers } = request;
  const has = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  const accepted = [
    ...(route.bytesLimit === undefined ? [] : ['application/octet-stream']),
    ...(route.body !== undefined || route.bytesLimit === undefined ? ['application/json'] : []),
  ];
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new HttpError(415, 'a compressed body is not taken', 'content-encoding');
  }
  if (type === undefined && !has && route.body === undefined && route.bytesLimit === undefined) return 'none';
  if (type === undefined || !accepted.includes(type)) {
    throw new HttpError(415, `a wrong content type, expected ${accepted.join(' or ')}`, 'content-type');
  }
  if (type === 'application/octet-stream') return 'bytes';
  return route.body === undefined && !has ? 'none' : 'json';
}

/** Reads and checks what comes with a request. @throws HttpError */
export async function parseBody<C>(
  request: IncomingMessage,
  route: AnyRoute<C>,
  kind: 'json' | 'bytes' | 'none',
): Promise<{ body?: unknown; bytes?: Uint8Array }> {
  if (kind === 'none') return {};
  if (kind === 'bytes') return { bytes: await readBody(request, route.bytesLimit!) };
  const bytes = await readBody(request, route.bodyLimit ?? JSON_LIMIT);
  if (bytes.length === 0 && route.body === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes), withoutProto);
  } catch {
    // The parser's own message quotes the text.
    throw new HttpError(400, 'the body is not valid JSON in UTF-8', 'json');
  }
  if (route.body !== undefined) validate(route.body as TSchema, value, 'body');
  return { body: value };
}

/** A key named __proto__ would come to mean something as soon as the object is copied. */
function withoutProto(this: unknown, key: string, value: unknown): unknown {
  return key === '__proto__' ? undefined : value;
}
