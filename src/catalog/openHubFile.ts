import { explainNetworkError } from './explainNetworkError.js';
import { explainStatus } from './explainStatus.js';
import { type HttpAnswer, httpGet } from './httpGet.js';
import { hubFileUrl } from './hub.js';
import { maySendToken } from './maySendToken.js';
import { SourceError } from './SourceError.js';
import type { FetchContext, HubSource } from './types.js';

/** Hub to CDN is one hop; a renamed repository adds one, a mirror another. */
const MAX_REDIRECTS = 6;

/** What the hub says of the file before it hands over to its CDN, whose own ETag is another thing. */
export interface Stated {
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
    let answer: HttpAnswer;
    try {
      answer = await httpGet(url, headers, { signal, stallMs: timing.stallMs });
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
        throw new SourceError({
          found: redirects > MAX_REDIRECTS ? `${start.host} redirects in a circle` : `${url.host} redirects to nowhere`,
          fix: 'check HF_ENDPOINT if it is set, or run again later',
        });
      }
      const next = new URL(target, url);
      if (next.protocol !== 'https:' && next.protocol !== url.protocol) {
        throw new SourceError({
          found: `${url.host} redirects to an unprotected address on ${next.host}`,
          fix: 'this is what the sign-in page of a public network does; open a browser, sign in and run again',
        });
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
