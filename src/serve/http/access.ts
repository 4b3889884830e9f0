import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import Type from 'typebox';
import { ifPresent, readText, writeFileAtomic } from '../../base/io.js';
import { type ApiKey, HelloAnswer, Nonce } from '../contract/access.js';
import { ApiKeys, serverFolder } from './apiKeys.js';
import { type Hello, helloPath, pairPath, proofText, sessionText, sessionToken } from './challenge.js';
import { HttpError } from './errors.js';
import { type AnyRoute, routesOf } from './route.js';

/**
 * Who may come in. The owner's pages and commands prove that they know the pairing secret (see challenge.ts) and get a session, which
 * ends with this server; other programs show a key of their own. The secret stands in the printed link and in a file of the user's.
 */

/** How a request came in: by the owner's session, or by a key. */
export type Caller = { readonly key?: ApiKey };

const SECRET_BYTES = 24;
/** Seconds that a session holds: a page asks for a new one by itself. */
const SESSION_SECONDS = 12 * 3600;

export class Access {
  private readonly start = randomBytes(16).toString('base64url');
  private once: { code: string; until: number } | undefined;

  private constructor(
    /** What the link holds after the #, which browsers send nowhere. */
    readonly pairing: string,
    readonly keys: ApiKeys,
  ) {}

  /**
   * @param renew makes a new pairing secret: every browser has to be paired again
   * @param keeps otherwise nothing is written, and a secret that is not there yet ends with this server
   */
  static async open(home: string, { renew = false, keeps = true } = {}): Promise<Access> {
    const path = join(serverFolder(home), 'pairing');
    const known = renew ? undefined : await readPairing(home);
    const pairing = known ?? randomBytes(SECRET_BYTES).toString('base64url');
    if (known === undefined && (keeps || renew)) await writeFileAtomic(path, `${pairing}\n`);
    // The token of an earlier version, which sent it with every request; what `serve --open` has left in a crash.
    for (const name of keeps ? ['token', 'open.html'] : []) await rm(join(serverFolder(home), name), { force: true });
    return new Access(pairing, await ApiKeys.open(home));
  }

  /** @param host what the Host header says, which has been checked */
  hello(host: string, nonce: string): Hello {
    const said = { start: this.start, until: seconds() + SESSION_SECONDS };
    return { ...said, proof: macOf(this.pairing, proofText(host, nonce, said)) };
  }

  /** A session that lasts as long as this server. */
  session(): string {
    // Beyond any server's life.
    return sessionOf(this.pairing, { start: this.start, until: seconds() + 1e9 });
  }

  /** A code that pairs one browser, for links that others may see. Another one takes its place. */
  onceCode(milliseconds: number): string {
    this.once = { code: randomBytes(SECRET_BYTES).toString('base64url'), until: Date.now() + milliseconds };
    return this.once.code;
  }

  /** @returns the pairing secret @throws HttpError: unauthorized */
  redeem(code: string): string {
    const { once } = this;
    if (!once || once.until < Date.now() || !isSame(once.code, code)) {
      throw new HttpError(
        'unauthorized',
        'this link has been used, or is too old: open the one that "loam serve" prints',
      );
    }
    this.once = undefined;
    return this.pairing;
  }

  /** @throws HttpError: unauthorized */
  caller({ headers }: Pick<IncomingMessage, 'headers'>): Caller {
    const [, given] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
    if (given !== undefined) {
      if (this.isSession(given)) return {};
    }
    // Clients of Anthropic's API show their key so; a session is none.
    const shown = given ?? headers['x-api-key'];
    if (typeof shown === 'string') {
      const key = this.keys.find(shown);
      if (key) return { key };
    }
    const found = shown === undefined ? 'no access token' : 'a wrong access token';
    const fix = 'open the page by the link that "loam serve" prints; programs need a key of "loam keys add"';
    throw new HttpError('unauthorized', `${found}: ${fix}`, { 'www-authenticate': 'Bearer' });
  }

  private isSession(given: string): boolean {
    const until = Number(/^loam-session\.(\d{1,12})\./.exec(given)?.[1] ?? 0);
    return until > seconds() && isSame(given, sessionOf(this.pairing, { start: this.start, until }));
  }
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

function macOf(secret: string, text: string): string {
  return createHmac('sha256', secret).update(text).digest('hex');
}

function sessionOf(secret: string, said: { start: string; until: number }): string {
  return sessionToken(said.until, macOf(secret, sessionText(said)));
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

async function readPairing(home: string): Promise<string | undefined> {
  const text = (await ifPresent(readText(join(serverFolder(home), 'pairing'), 4096)))?.trim();
  // 24 bytes in base64url.
  return text !== undefined && /^[A-Za-z0-9_-]{32}$/.test(text) ? text : undefined;
}

/** Where a page begins. It tells nothing of the user's, and proves who it is before anything is sent to it. */
export function helloRoute<Context>(access: (context: Context) => Access): AnyRoute<Context> {
  return routesOf<Context>()({
    method: 'GET',
    path: helloPath,
    summary: "The server's proof, over a nonce, that it knows the pairing secret; what a session is made of.",
    open: true,
    query: Type.Object({ nonce: Nonce }),
    response: HelloAnswer,
    async handler({ headers, query }, context) {
      return access(context).hello(headers.host!, query.nonce);
    },
  });
}

/** A browser that was opened by a code of `onceCode` is paired, as the printed link would do it. */
export function pairRoute<Context>(access: (context: Context) => Access): AnyRoute<Context> {
  return routesOf<Context>()({
    method: 'POST',
    path: pairPath,
    asks: true,
    summary: 'Exchanges the code of a link that opens the page once for the pairing secret.',
    open: true,
    body: Type.Object({ code: Nonce }, { additionalProperties: false }),
    bodyLimit: 256,
    response: Type.Object({ pairing: Type.String() }),
    async handler({ body }, context) {
      return { pairing: access(context).redeem(body.code) };
    },
  });
}

/** Milliseconds that a link of `linkRoute` is good for. */
const LINK_MS = 60_000;

/** For commands of the same user that open the page. */
export function linkRoute<Context>(access: (context: Context) => Access): AnyRoute<Context> {
  return routesOf<Context>()({
    method: 'POST',
    path: '/api/link',
    asks: true,
    summary: 'A code that lets one browser in within a minute, as PAGE/#code=CODE.',
    response: Type.Object({ code: Type.String() }),
    async handler(_, context) {
      return { code: access(context).onceCode(LINK_MS) };
    },
  });
}

/**
 * A session with the server at an address, for commands of the same user; undefined if what answers there does not know the pairing
 * secret: another program has the port.
 */
export async function openSession(home: string, base: string, signal: AbortSignal): Promise<string | undefined> {
  const pairing = await readPairing(home);
  if (pairing === undefined) return undefined;
  const nonce = randomBytes(16).toString('base64url');
  const answer = await fetch(`${base}${helloPath}?nonce=${nonce}`, { redirect: 'error', signal });
  const said = (await answer.json()) as Partial<Hello>;
  if (typeof said?.start !== 'string' || typeof said.until !== 'number') return undefined;
  const { start, until } = said;
  const proof = macOf(pairing, proofText(new URL(base).host, nonce, { start, until }));
  return isSame(String(said.proof), proof) ? sessionOf(pairing, { start, until }) : undefined;
}
