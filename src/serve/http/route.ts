import type { IncomingMessage } from 'node:http';
import type { Static, TObject, TSchema } from 'typebox';
import { UsageError } from '../../base/errors.js';
import type { ApiKey, KeyScope } from '../contract/access.js';
import { HttpError } from './errors.js';
import type { EventFormat, ServerEvent } from './events.js';
import { validate } from './validate.js';

/**
 * A route is declared once: method, path, what comes in, what goes out, and the handler. The router checks requests by the
 * declaration, OpenAPI is derived from it, and tests go over the list.
 */

/** Whose clients read an error. */
export type ErrorShape = 'openai' | 'anthropic';

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What a handler gives back instead of a plain JSON value. `T` is the JSON, or that of each event. */
export class Answer<T = unknown> {
  constructor(
    readonly content:
      | { readonly kind: 'json'; readonly value: T }
      | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly type: string }
      | { readonly kind: 'pieces'; readonly pieces: AsyncIterable<Uint8Array>; readonly type: string }
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
  /** Bytes whose length is not known before. If they break off, so does the connection: no client takes a part for the whole. */
  static pieces(pieces: AsyncIterable<Uint8Array>, type: string, headers: Record<string, string> = {}): Answer<never> {
    return new Answer<never>({ kind: 'pieces', pieces, type }, 200, headers);
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
  /** The API key that it came with; absent for the owner's own pages and commands. */
  readonly key: ApiKey | undefined;
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
  /** Asks and changes nothing, though it is not a GET. */
  readonly asks?: boolean;
  /** API keys may use it that have this scope, or a wider one; without it only the owner's pages and commands. */
  readonly keys?: KeyScope;
  readonly query?: Q;
  readonly body?: B;
  /** Most bytes of JSON that it accepts (default 1 MiB). */
  readonly bodyLimit?: number;
  /** Accepts raw bytes, also or only: most of them. */
  readonly bytesLimit?: number;
  readonly response: R;
  /** Errors in the shape of another API. */
  readonly errors?: ErrorShape;
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
  if (allowed.size === 0) throw new HttpError('address', nothingAt(path));
  const list = [...allowed].join(', ');
  throw new HttpError('method', `this address accepts ${list}`, { allow: list });
}

/** What a client of OpenAI's API has to set: its base address ends in /v1. */
export function nothingAt(path: string): string {
  const nothing = 'there is nothing at this address';
  if (!/^\/(v1|chat|completions|models|responses|embeddings|messages)\b/.test(path)) return nothing;
  return `${nothing}; OpenAI's API is here with the base URL ending in /v1: /v1/models, /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings; Anthropic's with one that does not: /v1/messages`;
}

/** An address as it was meant: doubled slashes of a base URL that ends in one, and one at the end. */
export function plainPath(path: string): string {
  const single = path.replace(/\/{2,}/g, '/');
  return single.length > 1 && single.startsWith('/v1/') ? single.replace(/\/$/, '') : single;
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
