/**
 * A route is declared once: method, path, what comes in, what goes out, and the handler. The router checks requests by the
 * declaration, OpenAPI is derived from it, and tests go over the list.
 */
import type { IncomingMessage } from 'node:http';
import type { Static, TObject, TSchema } from 'typebox';
import type { ServerEvent } from './ServerEvent.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What a handler gives back instead of a plain JSON value. */
export class Answer {
  constructor(
    readonly content:
      | { readonly kind: 'json'; readonly value: unknown }
      | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly type: string }
      | { readonly kind: 'empty' }
      | { readonly kind: 'events'; readonly events: AsyncIterable<ServerEvent> },
    readonly status: number = 200,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {}

  static json(value: unknown, status = 200): Answer {
    return new Answer({ kind: 'json', value }, status);
  }
  static bytes(bytes: Uint8Array, type: string, headers: Record<string, string> = {}): Answer {
    return new Answer({ kind: 'bytes', bytes, type }, 200, headers);
  }
  static empty(status = 204, headers: Record<string, string> = {}): Answer {
    return new Answer({ kind: 'empty' }, status, headers);
  }
  /** A stream of server-sent events; it is ended when the client has gone. */
  static events(events: AsyncIterable<ServerEvent>): Answer {
    return new Answer({ kind: 'events', events });
  }
}

/** Names between braces: '/api/jobs/{id}' has "id"; a last '{path...}' takes the rest. */
type Names<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `${infer Bare}...` ? Bare : Name) | Names<Rest>
  : never;

export interface Request<P extends string, Q extends TObject, B extends TSchema> {
  readonly params: Readonly<Record<Names<P>, string>>;
  readonly query: Static<Q>;
  /** Of a JSON request; undefined where bytes came. */
  readonly body: Static<B>;
  /** Of a request of bytes. */
  readonly bytes: Uint8Array | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly method: string;
  /** Fires when the client has gone, or the server ends. */
  readonly signal: AbortSignal;
}

export interface Route<Context, P extends string = string, Q extends TObject = TObject, B extends TSchema = TSchema> {
  readonly method: Method;
  readonly path: P;
  /** One line for OpenAPI. */
  readonly summary: string;
  /** Needs no token: only what holds no data of the user. */
  readonly open?: boolean;
  readonly query?: Q;
  readonly body?: B;
  /** Takes JSON up to so many bytes (default 1 MiB). */
  readonly bodyLimit?: number;
  /** Also or only takes raw bytes, up to so many. */
  readonly bytesLimit?: number;
  /** Schema of the JSON answer, or what else comes: 'events', or a content type. */
  readonly response: TSchema | string;
  /** Errors in OpenAI's shape. */
  readonly errors?: 'openai';
  handler(request: Request<P, Q, B>, context: Context): Promise<unknown>;
}

/** The list of a server's routes, of all kinds. */
// biome-ignore lint/suspicious/noExplicitAny: each handler knows its own request; the router has checked it by the declaration
export type AnyRoute<Context> = Route<Context, any, any, any>;

/** Keeps the literal types of a declaration. */
export function routesOf<Context>() {
  return <const P extends string, Q extends TObject = TObject, B extends TSchema = TSchema>(
    route: Route<Context, P, Q, B>,
  ): AnyRoute<Context> => route;
}
