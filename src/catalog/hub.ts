/** Addresses of the model hub. */
import { UsageError } from '../util/errors.js';
import type { HubSource } from './types.js';

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
export function hubPage(source: HubSource, endpoint: URL): string {
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
