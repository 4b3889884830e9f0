import { type LookupAddress, lookup as lookUp } from 'node:dns';
import http, { type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { LoamError, StoppedError } from '../base/errors.js';
import { Wakeup } from '../base/events.js';
import { type Remedy, SourceError } from './download.js';

/** A GET whose body keeps what arrived before a connection broke, and the errors of sockets in words. */

/**
 * Addresses that are this device, its network or nobody's: what a server sends us there for is not ours to fetch (the special-purpose
 * registries of RFC 6890, multicast included).
 */
const notPublic = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  notPublic.addSubnet(net, prefix, 'ipv4');
}

/** Whether an IP address is one of the public internet. IPv6: global unicast that carries no IPv4 address. */
export function isPublicAddress(address: string): boolean {
  const plain = address.replace(/^\[|\]$/g, '').replace(/%.*$/, '');
  if (isIP(plain) === 4) return !notPublic.check(plain, 'ipv4');
  if (isIP(plain) !== 6) return false;
  // 2000::/3 without 2001::/23 (protocols, Teredo), 2001:db8::/32 (examples) and 2002::/16 (6to4).
  const [first = '', second = ''] = plain.toLowerCase().split(':');
  const [a, b] = [Number.parseInt(first || '0', 16), Number.parseInt(second || '0', 16)];
  return a >= 0x2000 && a < 0x4000 && a !== 0x2002 && !(a === 0x2001 && (b < 0x200 || b === 0xdb8));
}

function privateAddress(host: string): SourceError {
  const found = `the download was sent on to ${host}, an address of this device or its network`;
  return new SourceError(
    { code: 'network', found, expected: 'a public one', fix: 'check HF_ENDPOINT if it is set, or use another network' },
    { remedy: 'none' },
  );
}

/** Looks a name up, and gives public addresses only. */
const publicLookup: LookupFunction = (hostname, options, done) => {
  lookUp(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
    const wrong =
      error ?? (addresses.every(({ address }) => isPublicAddress(address)) ? null : privateAddress(hostname));
    if (wrong) done(wrong, '');
    else if (options.all) done(null, addresses);
    else done(null, addresses[0]!.address, addresses[0]!.family);
  });
};

/** Bytes that a server sends in the time that counts as silence, at least: one that drips would never end. */
const LEAST_BYTES = 1024;

/** Bytes that may wait for a slow disk before the server is made to wait. */
const QUEUE = 4 * 1024 * 1024;

interface Patience {
  signal: AbortSignal | undefined;
  /** Longest silence, milliseconds. */
  stallMs: number;
  /** Whether the server may not be on this device or its network: it was not the user who named it. */
  publicOnly?: boolean;
}

function stalled(host: string, stallMs: number): SourceError {
  const seconds = Math.round(stallMs / 1000);
  return new SourceError({
    code: 'network',
    found: `${host} sent next to nothing for ${seconds} s`,
    fix: 'check the connection',
  });
}

/**
 * The body of an HTTP answer. It listens from the moment it is made, so that what arrived before a connection broke is given
 * before the error is thrown: reading the answer itself drops it, and an error before the first read is lost.
 */
class AnswerBody {
  private queue: Buffer[] = [];
  private queued = 0;
  private ended = false;
  private failure: unknown = null;
  private readonly wakeup = new Wakeup();

  constructor(
    private readonly response: IncomingMessage,
    private readonly host: string,
  ) {
    const finish = (error: unknown) => {
      this.failure ??= error;
      this.ended = true;
      this.wakeup.wake();
    };
    response.on('data', (chunk: Buffer) => {
      this.queue.push(chunk);
      this.queued += chunk.length;
      if (this.queued > QUEUE) response.pause();
      this.wakeup.wake();
    });
    response.once('end', () => finish(null));
    response.on('error', finish);
    response.once('close', () => finish(null));
  }

  /** What comes, as it comes, to be read once; a slow reader is no stall. Throws socket errors, SourceError, StoppedError. */
  async *chunks({ signal, stallMs }: Patience): AsyncGenerator<Buffer> {
    const { response, host } = this;
    const stop = () => response.destroy(new StoppedError());
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    let [waited, heard] = [0, 0];
    try {
      for (;;) {
        if (this.queued > 0) {
          heard += this.queued;
          if (heard >= LEAST_BYTES) [waited, heard] = [0, 0];
          const chunk = this.queue.length === 1 ? this.queue[0]! : Buffer.concat(this.queue);
          this.queue = [];
          this.queued = 0;
          response.resume();
          yield chunk;
        } else if (this.ended) {
          if (this.failure !== null) throw this.failure;
          return;
        } else {
          const since = performance.now();
          const timer = setTimeout(() => response.destroy(stalled(host, stallMs)), Math.max(0, stallMs - waited));
          await this.wakeup.sleep();
          clearTimeout(timer);
          waited += performance.now() - since;
        }
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      response.destroy();
    }
  }

  /** Closes the connection; the rest is not wanted. */
  destroy(): void {
    this.response.destroy();
  }
}

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: AnswerBody;
}

/**
 * Sends a GET and resolves with the answer once its headers are here, whatever the status; redirects are the caller's to
 * follow. Node's `http` rather than `fetch`, which adds headers of its own and hides slow bodies. It does not go through a
 * proxy by itself: on Node 24 and later NODE_USE_ENV_PROXY=1 makes it obey HTTPS_PROXY.
 * Rejects with socket errors, SourceError after a silence of `stallMs`, StoppedError.
 */
export function httpGet(url: URL, headers: Record<string, string>, patience: Patience): Promise<HttpAnswer> {
  const { signal, stallMs, publicOnly = false } = patience;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new StoppedError());
      return;
    }
    // An address is not looked up.
    if (publicOnly && isIP(url.hostname.replace(/^\[|\]$/g, '')) !== 0 && !isPublicAddress(url.hostname)) {
      reject(privateAddress(url.host));
      return;
    }
    // Node gives each address of a host 250 ms to answer, less than a mobile network may need.
    const options: RequestOptions & { autoSelectFamilyAttemptTimeout: number } = {
      headers: { ...headers, connection: 'close' },
      agent: false,
      autoSelectFamilyAttemptTimeout: 2500,
      ...(publicOnly && { lookup: publicLookup }),
    };
    const request = url.protocol === 'https:' ? https.get(url, options) : http.get(url, options);
    const timer = setTimeout(() => request.destroy(stalled(url.host, stallMs)), stallMs);
    const stop = () => request.destroy(new StoppedError());
    signal?.addEventListener('abort', stop, { once: true });
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    };
    request.once('response', (response) => {
      settle();
      const body = new AnswerBody(response, url.host);
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
    });
    request.on('error', (error) => {
      settle();
      reject(error);
    });
  });
}

/** What a person can understand and do about the codes of Node's sockets and of TLS. */
const sentences: Record<string, { found: (host: string) => string; fix: string; remedy: Remedy }> = {
  ENOTFOUND: {
    found: (host) => `the name ${host} could not be looked up`,
    fix: 'connect to a network, or use one that reaches this host',
    remedy: 'reconnect',
  },
  EAI_AGAIN: {
    found: (host) => `the name ${host} could not be looked up just now`,
    fix: 'check the connection',
    remedy: 'retry',
  },
  ECONNREFUSED: {
    found: (host) => `${host} refused the connection`,
    fix: 'check HF_ENDPOINT if it is set, or try another network',
    remedy: 'reconnect',
  },
  ENETUNREACH: { found: (host) => `no route to ${host}`, fix: 'connect to a network', remedy: 'reconnect' },
  ECONNRESET: { found: (host) => `${host} closed the connection midway`, fix: 'check the connection', remedy: 'retry' },
  ETIMEDOUT: { found: (host) => `${host} did not answer`, fix: 'check the connection', remedy: 'retry' },
};
sentences.EHOSTUNREACH = sentences.ENETUNREACH!;
sentences.EPIPE = sentences.ECONNRESET!;

/** Behind a proxy nothing is reached directly; Node asks it when it is told to. */
function proxyAdvice(): string | undefined {
  const { HTTPS_PROXY, https_proxy, HTTP_PROXY, http_proxy, NODE_USE_ENV_PROXY } = process.env;
  if (NODE_USE_ENV_PROXY === '1' || !(HTTPS_PROXY || https_proxy || HTTP_PROXY || http_proxy)) return undefined;
  return 'a proxy is set (HTTPS_PROXY): Node 24 and later go through it with NODE_USE_ENV_PROXY=1';
}

/**
 * Any error of a request as a SourceError with the host's name (never the address: a signed one grants access); errors that
 * are Loam's own, a stop or a full disk among them, pass through.
 */
export function explainNetworkError(error: unknown, host: string): LoamError {
  if (error instanceof LoamError) return error;
  const { code = '', message = String(error) } = error as NodeJS.ErrnoException;
  const known = Object.hasOwn(sentences, code) ? sentences[code]! : undefined;
  if (known !== undefined) {
    const fault = { code: 'network', found: known.found(host), fix: proxyAdvice() ?? known.fix } as const;
    return new SourceError(fault, { remedy: known.remedy, cause: error });
  }
  if (/CERT|SELF_SIGNED|VERIFY|ISSUER|ERR_TLS|ERR_SSL|EPROTO/.test(code)) {
    return new SourceError(
      {
        code: 'network',
        found: `no trustworthy connection to ${host} (${code})`,
        fix: "check the device's date; a network that inspects traffic needs its certificate in NODE_EXTRA_CA_CERTS",
      },
      { remedy: 'none', cause: error },
    );
  }
  return new SourceError(
    { code: 'network', found: `the connection to ${host} failed (${code || message})`, fix: 'check the connection' },
    // Codes of the system and of the HTTP parser may pass; those of Node itself (ERR_) are mistakes that recur.
    { remedy: /^(E(?!RR_)|HPE_)/.test(code) ? 'retry' : 'none', cause: error },
  );
}
