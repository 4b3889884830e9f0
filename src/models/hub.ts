import { isIP } from 'node:net';
import { UsageError } from '../base/errors.js';
import type { HubSource } from './catalogue.js';
import { type FetchContext, SourceError } from './download.js';
import { explainNetworkError, type HttpAnswer, httpGet } from './http.js';

/** The model hub: addresses, references as people write them, and a request that follows the hub's redirects. */

const DEFAULT_ENDPOINT = 'https://huggingface.co';

/** Base URL of the hub: `HF_ENDPOINT` (the variable that huggingface_hub reads, for mirrors), or the public hub. */
export function hubEndpoint(value = process.env.HF_ENDPOINT): URL {
  const text = value === undefined || value.trim() === '' ? DEFAULT_ENDPOINT : value.trim();
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new UsageError({
      found: JSON.stringify(text),
      expected: `an address such as ${DEFAULT_ENDPOINT}`,
      where: 'HF_ENDPOINT',
      fix: 'correct or unset it',
    });
  }
  return url;
}

/** Where the hub serves a file: ENDPOINT/owner/name/resolve/REVISION/path. */
export function hubFileUrl(source: HubSource, endpoint: URL): URL {
  const path = [...source.repo.split('/'), 'resolve', source.revision, ...source.file.split('/')];
  return new URL(`${endpoint.href.replace(/\/+$/, '')}/${path.map(encodeURIComponent).join('/')}`);
}

/** The same address to keep on disk: without the name and password that the address of a mirror may hold. */
export function addressOf(source: HubSource, endpoint: URL): string {
  const { origin, pathname } = hubFileUrl(source, endpoint);
  return origin + pathname;
}

/** The repository's page, where a licence is accepted. */
function hubPage(source: HubSource, endpoint: URL): string {
  return `${endpoint.origin}${endpoint.pathname.replace(/\/+$/, '')}/${source.repo}`;
}

/** Names the hub allows; a leading dot is refused so that "." and ".." never reach a URL or a path. */
const SEGMENT = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

/**
 * Reads "hub:owner/name/file.gguf", "hub:owner/name@revision/sub/file.gguf", or the address of the file's page or download
 * on the hub as a browser shows it. Null when the text is none of these; UsageError when it is one but cannot be right.
 */
export function parseHubReference(text: string, endpoint: URL): HubSource | null {
  let rest: string;
  let revision = 'main';
  if (text.startsWith('hub:')) rest = text.slice(4);
  else if (/^https?:\/\//i.test(text) && URL.canParse(text) && new URL(text).host === endpoint.host) {
    const base = endpoint.pathname.replace(/\/+$/, '');
    rest = new URL(text).pathname.slice(base.length + 1);
    const page = /^([^/]+\/[^/]+)\/(?:resolve|blob)\/([^/]+)\/(.+)$/.exec(rest);
    if (page !== null) {
      rest = `${page[1]}/${page[3]}`;
      revision = page[2]!;
    }
  } else return null;
  const [owner = '', name = '', ...path] = rest.split('/');
  const [repo = '', at, ...more] = name.split('@');
  if (at !== undefined) revision = at;
  const parts = [owner, repo, revision, ...path];
  if (path.length === 0 || more.length > 0 || !parts.every((p) => SEGMENT.test(p)) || !rest.endsWith('.gguf')) {
    throw new UsageError({
      found: `cannot read ${JSON.stringify(text)}`,
      expected: 'hub:owner/repository/file.gguf or hub:owner/repository@revision/file.gguf',
    });
  }
  return { kind: 'hub', repo: `${owner}/${repo}`, revision, file: path.join('/') };
}

/** Milliseconds of a Retry-After header: seconds, or a date (RFC 9110, 10.2.3). */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
}

interface Asked {
  source: HubSource;
  endpoint: URL;
  /** The host that answered, and whether it is the hub itself or one it redirected to. */
  host: string;
  isHub: boolean;
  /** Whether the request carried HF_TOKEN. */
  withToken: boolean;
}

/** 401 and 403: the hub says in x-error-code why (huggingface_hub, `hf_raise_for_status`); the status alone does not. */
function refused(status: number, reason: string, { source, endpoint, host, withToken }: Asked): SourceError {
  const page = hubPage(source, endpoint);
  const code = 'forbidden';
  if (reason === 'GatedRepo' || (reason === '' && withToken)) {
    return new SourceError({
      code,
      found: withToken
        ? `${source.repo} is a gated model and the account of HF_TOKEN has no access to it (status ${status})`
        : `${source.repo} is a gated model (status ${status})`,
      fix: withToken
        ? `accept its licence on ${page} with that account, and let the token read gated repositories`
        : `accept its licence on ${page}, make a read token there and set HF_TOKEN`,
    });
  }
  return new SourceError({
    code,
    found: `${host} lets nobody read ${source.repo} without permission (status ${status}); it is gated, private or not there`,
    fix: withToken
      ? `check ${page} and whether the token is still valid`
      : `look at ${page}; if it asks to accept a licence, do so, make a read token and set HF_TOKEN`,
  });
}

/** The error that a status other than 200, 206 and a redirect means for a download. */
function explainStatus({ status, headers }: HttpAnswer, asked: Asked): SourceError {
  const { source, host, isHub } = asked;
  const reason = String(headers['x-error-code'] ?? '');
  const where = `${source.repo}@${source.revision}/${source.file}`;
  if (status === 401 || status === 403) {
    if (isHub) return refused(status, reason, asked);
    // Signed addresses expire; the hub gives a fresh one.
    const found = `${host} no longer accepts the address the hub gave (status ${status})`;
    return new SourceError({ code: 'network', found, fix: 'run again' });
  }
  if (status === 404 || status === 410) {
    const what = reason === 'RepoNotFound' ? 'repository' : reason === 'RevisionNotFound' ? 'revision' : 'file';
    return new SourceError({
      code: 'not-found',
      found: `${host} has no such ${what} (status ${status})`,
      where,
      fix: 'its owner may have moved it; look for another file and use loam models add hub:owner/repository/file.gguf',
    });
  }
  if (status === 416) {
    const found = `${host} has fewer bytes than were kept of an earlier download (status 416)`;
    return new SourceError({ code: 'conflict', found, where, fix: 'run again' }, { waitMs: 0 });
  }
  const waitMs = retryAfter(headers['retry-after']);
  if (status === 429) {
    const said = waitMs === undefined ? '' : ` and asks to wait ${Math.ceil(waitMs / 1000)} s`;
    const found = `${host} has had too many requests from this network (status 429)${said}`;
    return new SourceError({ code: 'busy', found, fix: 'run again later' }, { waitMs });
  }
  if (status === 408 || status >= 500) {
    const found = `${host} is in trouble (status ${status})`;
    return new SourceError({ code: 'busy', found, fix: 'run again later' }, { waitMs });
  }
  const found = `${host} answered with status ${status}`;
  return new SourceError({ code: 'network', found, expected: '200 or 206', where }, { remedy: 'none' });
}

/** A token may travel over TLS, or to this very device; never readable over a network. */
export function maySendToken(url: URL): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const loopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  return url.protocol === 'https:' || loopback;
}

/** Hub to CDN is one hop; a renamed repository adds one, a mirror another. */
const MAX_REDIRECTS = 6;

/** What the hub says of the file before it hands over to its CDN, whose own ETag is another thing. */
interface Stated {
  /** x-linked-etag, when it is a SHA-256. */
  sha256?: string;
  /** x-linked-size. */
  size?: number;
  /** x-repo-commit. */
  commit?: string;
}

/** An answer of status 200 or 206. */
export interface HubAnswer extends HttpAnswer {
  stated: Stated;
  /** Who sends the body: for messages. */
  host: string;
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function readStated(answer: HttpAnswer, stated: Stated): void {
  const tag = (one(answer.headers['x-linked-etag']) ?? '').replace(/^W\//, '').replaceAll('"', '').toLowerCase();
  if (/^[0-9a-f]{64}$/.test(tag)) stated.sha256 ??= tag;
  const size = one(answer.headers['x-linked-size']);
  if (size !== undefined && /^\d{1,15}$/.test(size)) stated.size ??= Number(size);
  const commit = one(answer.headers['x-repo-commit']);
  if (commit !== undefined && /^[0-9a-f]{40}$/.test(commit)) stated.commit ??= commit;
}

/**
 * Asks the hub for a file from byte `offset` on and follows its redirects until somebody sends the body. Anonymous first: the
 * token goes to the hub's own host, and only after it has refused; no redirect ever receives it. `ifRange` is the validator of
 * the bytes already here (RFC 9110, 13.1.5): a server whose file is another sends all of it, with status 200.
 * Throws SourceError, StoppedError.
 */
export async function openHubFile(
  source: HubSource,
  context: FetchContext,
  { offset, ifRange }: { offset: number; ifRange?: string | undefined },
): Promise<HubAnswer> {
  const { endpoint, token, signal, timing } = context;
  const start = hubFileUrl(source, endpoint);
  const stated: Stated = {};
  let url = start;
  let withToken = false;
  let redirects = 0;
  for (;;) {
    const isHub = url.origin === endpoint.origin;
    const headers: Record<string, string> = { 'user-agent': 'loam', accept: '*/*', 'accept-encoding': 'identity' };
    if (offset > 0) {
      headers.range = `bytes=${offset}-`;
      if (ifRange !== undefined) headers['if-range'] = ifRange;
    }
    const authorised = isHub && withToken && token !== undefined;
    if (authorised) headers.authorization = `Bearer ${token}`;
    // Where the user has sent us, and nowhere else on this device or its network.
    const publicOnly = url.hostname !== endpoint.hostname;
    // Names and passwords are the user's, in HF_ENDPOINT; those of an address that a server gives are not sent.
    [url.username, url.password] = isHub ? [endpoint.username, endpoint.password] : ['', ''];
    let answer: HttpAnswer;
    try {
      answer = await httpGet(url, headers, { signal, stallMs: timing.stallMs, publicOnly });
    } catch (error) {
      throw explainNetworkError(error, url.host);
    }
    const { status } = answer;
    const redirect = status >= 301 && status <= 308 && status !== 304;
    if (isHub || redirect) readStated(answer, stated);
    if (status === 200 || status === 206) return { ...answer, stated, host: url.host };
    answer.body.destroy();
    if (redirect) {
      const target = answer.headers.location;
      if (target === undefined || !URL.canParse(target, url.href) || ++redirects > MAX_REDIRECTS) {
        const circle = redirects > MAX_REDIRECTS;
        throw new SourceError(
          {
            code: 'network',
            found: circle ? `${start.host} redirects in a circle` : `${url.host} redirects to nowhere`,
            fix: 'check HF_ENDPOINT if it is set, or run again later',
          },
          { remedy: 'none' },
        );
      }
      const next = new URL(target, url);
      if (next.protocol !== 'https:' && next.protocol !== url.protocol) {
        throw new SourceError(
          {
            code: 'network',
            found: `${url.host} redirects to an unprotected address on ${next.host}`,
            fix: 'this is what the sign-in page of a public network does; open a browser, sign in and run again',
          },
          { remedy: 'none' },
        );
      }
      url = next;
      continue;
    }
    if ((status === 401 || status === 403) && isHub && !withToken && token !== undefined && maySendToken(url)) {
      withToken = true;
      url = start;
      redirects = 0;
      continue;
    }
    throw explainStatus(answer, { source, endpoint, host: url.host, isHub, withToken: authorised });
  }
}

/** The first and last byte and the total of a 206's Content-Range (RFC 9110, 14.4). */
export function contentRange(value: string | undefined): { start: number; total: number | undefined } | null {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(value ?? '');
  return match === null ? null : { start: Number(match[1]), total: match[3] === '*' ? undefined : Number(match[3]) };
}
