import type { HttpAnswer } from './httpGet.js';
import { hubPage } from './hub.js';
import { SourceError } from './SourceError.js';
import type { HubSource } from './types.js';

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
function refused(status: number, code: string, { source, endpoint, host, withToken }: Asked): SourceError {
  const page = hubPage(source, endpoint);
  if (code === 'GatedRepo' || (code === '' && withToken)) {
    return new SourceError({
      found: withToken
        ? `${source.repo} is a gated model and the account of HF_TOKEN has no access to it (status ${status})`
        : `${source.repo} is a gated model (status ${status})`,
      fix: withToken
        ? `accept its licence on ${page} with that account, and let the token read gated repositories`
        : `accept its licence on ${page}, make a read token there and set HF_TOKEN`,
    });
  }
  return new SourceError({
    found: `${host} lets nobody read ${source.repo} without permission (status ${status}); it is gated, private or not there`,
    fix: withToken
      ? `check ${page} and whether the token is still valid`
      : `look at ${page}; if it asks to accept a licence, do so, make a read token and set HF_TOKEN`,
  });
}

/** The error that a status other than 200, 206 and a redirect means for a download. */
export function explainStatus({ status, headers }: HttpAnswer, asked: Asked): SourceError {
  const { source, host, isHub } = asked;
  const code = String(headers['x-error-code'] ?? '');
  const where = `${source.repo}@${source.revision}/${source.file}`;
  if (status === 401 || status === 403) {
    if (isHub) return refused(status, code, asked);
    // Signed addresses expire; the hub gives a fresh one.
    return new SourceError(
      { found: `${host} no longer accepts the address the hub gave (status ${status})`, fix: 'run again' },
      { transient: true },
    );
  }
  if (status === 404 || status === 410) {
    const what = code === 'RepoNotFound' ? 'repository' : code === 'RevisionNotFound' ? 'revision' : 'file';
    return new SourceError({
      found: `${host} has no such ${what} (status ${status})`,
      where,
      fix: 'its owner may have moved it; look for another file and use loam models add hub:owner/repository/file.gguf',
    });
  }
  if (status === 416) {
    return new SourceError(
      { found: `${host} has fewer bytes than were kept of an earlier download (status 416)`, where, fix: 'run again' },
      { transient: true, startOver: true, waitMs: 0 },
    );
  }
  const waitMs = retryAfter(headers['retry-after']);
  const wait = waitMs === undefined ? {} : { waitMs };
  if (status === 429) {
    const said = waitMs === undefined ? '' : ` and asks to wait ${Math.ceil(waitMs / 1000)} s`;
    return new SourceError(
      { found: `${host} has had too many requests from this network (status 429)${said}`, fix: 'run again later' },
      { transient: true, busy: true, ...wait },
    );
  }
  if (status === 408 || status >= 500) {
    return new SourceError(
      { found: `${host} is in trouble (status ${status})`, fix: 'run again later' },
      { transient: true, busy: true, ...wait },
    );
  }
  return new SourceError({ found: `${host} answered with status ${status}`, expected: '200 or 206', where });
}
