import type { IncomingMessage } from 'node:http';
import type { Static, TObject, TSchema } from 'typebox';
import Value from 'typebox/value';
import { LoamError, UsageError } from '../../base/errors.js';
import { bytes as formatBytes } from '../../base/format.js';
import { HttpError } from './errors.js';
import type { EventFormat, ServerEvent } from './events.js';

/**
 * A route is declared once: method, path, what comes in, what goes out, and the handler. The router checks requests by the
 * declaration, OpenAPI is derived from it, and tests go over the list.
 */

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What a handler gives back instead of a plain JSON value. `T` is the JSON, or that of each event. */
export class Answer<T = unknown> {
  constructor(
    readonly content:
      | { readonly kind: 'json'; readonly value: T }
      | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly type: string }
      | { readonly kind: 'empty' }
      | { readonly kind: 'events'; readonly events: AsyncIterable<ServerEvent<T>>; readonly format: EventFormat },
    readonly status: number = 200,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {}

  static json<T>(value: T, status = 200): Answer<T> {
    return new Answer({ kind: 'json', value }, status);
  }
  static bytes(bytes: Uint8Array, type: string, headers: Record<string, string> = {}): Answer<never> {
    return new Answer<never>({ kind: 'bytes', bytes, type }, 200, headers);
  }
  static empty(status = 204, headers: Record<string, string> = {}): Answer<never> {
    return new Answer<never>({ kind: 'empty' }, status, headers);
  }
  /** A stream of server-sent events; it is ended when the client has gone. */
  static events<T>(events: AsyncIterable<ServerEvent<T>>, format: EventFormat = 'named'): Answer<T> {
    return new Answer<T>({ kind: 'events', events, format });
  }
}

/** What a route answers: JSON of a schema, a stream of events of one (or JSON, as the request says), or bytes of a kind. */
export type Response = TSchema | { readonly events: TSchema; readonly json?: TSchema } | { readonly bytes: string };

type Json<S> = S extends TSchema ? Static<S> | Answer<Static<S>> : never;
type Answered<R extends Response> = R extends { readonly events: infer E extends TSchema; readonly json?: infer J }
  ? Answer<Static<E>> | Json<J>
  : R extends { readonly bytes: string }
    ? Answer<never>
    : Json<R>;

/** Names between braces: '/api/jobs/{id}' has "id"; a last '{path...}' takes the rest. */
type Names<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `${infer Bare}...` ? Bare : Name) | Names<Rest>
  : never;

interface Request<P extends string, Q extends TObject, B extends TSchema> {
  readonly params: Readonly<Record<Names<P>, string>>;
  readonly query: Static<Q>;
  /** Of a JSON request; undefined if bytes came. */
  readonly body: Static<B>;
  /** Of a request of bytes. */
  readonly bytes: Uint8Array | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly method: string;
  /** Fires when the client has gone, or the server ends. */
  readonly signal: AbortSignal;
}

interface Route<Context, P extends string, Q extends TObject, B extends TSchema, R extends Response> {
  readonly method: Method;
  readonly path: P;
  /** One line for OpenAPI. */
  readonly summary: string;
  /** Needs no token: only what holds no data of the user. */
  readonly open?: boolean;
  readonly query?: Q;
  readonly body?: B;
  /** Most bytes of JSON that it accepts (default 1 MiB). */
  readonly bodyLimit?: number;
  /** Accepts raw bytes, also or only: most of them. */
  readonly bytesLimit?: number;
  readonly response: R;
  /** Errors in OpenAI's shape. */
  readonly errors?: 'openai';
  handler(request: Request<P, Q, B>, context: Context): Promise<Answered<R>>;
}

/** The list of a server's routes, of all kinds. */
// biome-ignore lint/suspicious/noExplicitAny: each handler knows its own request; the router has checked it by the declaration
export type AnyRoute<Context> = Route<Context, any, any, any, any>;

/** Keeps the literal types of a declaration. */
export function routesOf<Context>() {
  return <const P extends string, R extends Response, Q extends TObject = TObject, B extends TSchema = TSchema>(
    route: Route<Context, P, Q, B, R>,
  ): AnyRoute<Context> => route;
}

/** Longest value of a path parameter: ids and names, no texts. */
const MAX_PARAMETER = 256;
/** Rank of a route that takes whatever is left. */
const CATCH_ALL = -100;

interface Match<Context> {
  route: AnyRoute<Context>;
  params: Record<string, string>;
}

/**
 * Finds the route of a method and a path without its query. Fixed parts go before parameters.
 * @throws HttpError: address, method; UsageError for a path that is not valid percent-encoded UTF-8
 */
export function matchRoute<Context>(
  routes: readonly AnyRoute<Context>[],
  method: string,
  path: string,
): Match<Context> {
  const parts = path.split('/').slice(1).map(decode);
  const allowed = new Set<string>();
  let best: (Match<Context> & { fixed: number }) | undefined;
  for (const route of routes) {
    const params = fit(route.path.split('/').slice(1), parts);
    if (!params) continue;
    const takesAll = route.path.endsWith('...}');
    // What takes every address says nothing of one that others have.
    if (!takesAll) {
      allowed.add(route.method);
      if (route.method === 'GET') allowed.add('HEAD');
    }
    const fits = route.method === method || (method === 'HEAD' && route.method === 'GET');
    const fixed = (takesAll ? CATCH_ALL : 0) - Object.keys(params).length;
    if (fits && (!best || fixed > best.fixed)) best = { route, params, fixed };
  }
  if (best && (best.fixed > CATCH_ALL || allowed.size === 0)) return best;
  if (allowed.size === 0) throw new HttpError('address', 'there is nothing at this address');
  const list = [...allowed].join(', ');
  throw new HttpError('method', `this address accepts ${list}`, { allow: list });
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new UsageError({ found: 'the address is not valid percent-encoded UTF-8' });
  }
}

function fit(pattern: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  // No prototype: a parameter may have any name.
  const params: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [i, piece] of pattern.entries()) {
    const name = /^\{(\w+)(\.\.\.)?\}$/.exec(piece);
    if (!name) {
      if (parts[i] !== piece) return undefined;
      continue;
    }
    if (name[2]) {
      params[name[1]!] = parts.slice(i).join('/');
      return params;
    }
    const value = parts[i];
    if (!value || value.length > MAX_PARAMETER) return undefined;
    params[name[1]!] = value;
  }
  return pattern.length === parts.length ? params : undefined;
}

/**
 * The body of a request, at most `limit` bytes: a larger one is refused by its stated length, or while it comes.
 * @throws LoamError: too-large; HttpError: incomplete, if the client goes before the end
 */
async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const tooLarge = () =>
    new LoamError({
      code: 'too-large',
      found: `more than ${formatBytes(limit)}, the limit here`,
    });
  const incomplete = () => new HttpError('incomplete', 'the request ended before its body did');
  const stated = request.headers['content-length'];
  const length = stated === undefined ? undefined : Number(stated);
  if (length !== undefined && length > limit) throw tooLarge();
  // With a stated length there is one buffer of that size, not a list of pieces and a copy of it.
  let whole = length === undefined ? undefined : Buffer.allocUnsafe(length);
  const pieces: Buffer[] = [];
  let read = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      if (read + piece.length > limit) throw tooLarge();
      if (whole) piece.copy(whole, read);
      else pieces.push(piece);
      read += piece.length;
    }
  } catch (error) {
    throw error instanceof LoamError ? error : incomplete();
  }
  whole ??= Buffer.concat(pieces);
  if (read !== whole.length) throw incomplete();
  return whole;
}

/** Faults named in a message; the first says enough. */
const named = 3;

/**
 * Holds a value against its schema. The message names fields and what they should be, and quotes nothing of what came.
 * @throws UsageError
 */
export function validate<S extends TSchema>(schema: S, value: unknown, what: string): asserts value is Static<S> {
  if (Value.Check(schema, value)) return;
  const faults = Value.Errors(schema, value)
    .filter(({ keyword }) => keyword !== 'boolean')
    .slice(0, named)
    .map(({ instancePath, message, params }) => {
      const place = [what, ...instancePath.split('/').slice(1)].join('.');
      const { additionalProperties: unknown } = params as { additionalProperties?: unknown };
      const which = Array.isArray(unknown) ? `: ${unknown.map((name) => String(name).slice(0, 40)).join(', ')}` : '';
      return `${place} ${message}${which}`;
    });
  throw new UsageError({ found: faults.join('; ') });
}

/** JSON requests are forms and short texts. */
const JSON_LIMIT = 1 << 20;

/** The media type alone, lower case. */
function mediaType(header: string | undefined): string | undefined {
  return header === undefined ? undefined : header.split(';')[0]!.trim().toLowerCase();
}

/** @throws HttpError: content-type, content-encoding; before anything of the body is read */
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
    throw new HttpError('content-encoding', 'compressed bodies are not accepted');
  }
  if (type === undefined && !has && route.body === undefined && route.bytesLimit === undefined) return 'none';
  if (type === undefined || !accepted.includes(type)) {
    throw new HttpError('content-type', `a wrong content type, expected ${accepted.join(' or ')}`);
  }
  if (type === 'application/octet-stream') return 'bytes';
  return route.body === undefined && !has ? 'none' : 'json';
}

/** Reads and checks what comes with a request. @throws HttpError, LoamError */
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
    throw new HttpError('json', 'the body is not valid JSON in UTF-8');
  }
  if (route.body !== undefined) validate(route.body as TSchema, value, 'body');
  return { body: value };
}

/** A key named __proto__ would come to mean something as soon as the object is copied. */
function withoutProto(this: unknown, key: string, value: unknown): unknown {
  return key === '__proto__' ? undefined : value;
}

/** A query string by its schema: numbers and true/false are read as such. Unknown and repeated names are refused. @throws UsageError */
export function parseQuery(schema: TObject | undefined, search: URLSearchParams): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, text] of search) {
    const declared = schema && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (!declared) throw new UsageError({ found: 'the query has an unknown parameter' });
    if (Object.hasOwn(values, name)) throw new UsageError({ found: `query.${name} is given twice` });
    values[name] = convert(declared, text);
  }
  if (schema) validate(schema, values, 'query');
  return values;
}

function convert(schema: TSchema, text: string): unknown {
  const { type } = schema as { type?: string };
  if ((type === 'integer' || type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (type === 'boolean' && /^(true|1|false|0)$/.test(text)) return text === 'true' || text === '1';
  return text;
}
