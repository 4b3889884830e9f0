import { HttpError } from './HttpError.js';
import { Answer, type AnyRoute, routesOf } from './route.js';

/** A file of the page, ready to be sent. */
export interface StaticFile {
  body: Uint8Array;
  /** The same, compressed. */
  gzip?: Uint8Array;
  type: string;
  /** With its quotes. */
  etag: string;
  cacheControl: string;
}

/** The page's files, and nothing of the disk. They hold no data, so they come without the token, which the page itself brings. */
export function staticRoute<Context>(
  files: ReadonlyMap<string, StaticFile>,
  contentSecurityPolicy: string,
): AnyRoute<Context> {
  return routesOf<Context>()({
    method: 'GET',
    path: '/{file...}',
    summary: 'The page and its files.',
    open: true,
    response: 'the file',
    async handler({ params, headers }) {
      const file = files.get(`/${params.file}`);
      if (!file) throw new HttpError(404, 'there is nothing at this address');
      const { etag } = file;
      const sent = {
        etag,
        vary: 'accept-encoding',
        'cache-control': file.cacheControl,
        'content-security-policy': contentSecurityPolicy,
      };
      const known = (headers['if-none-match'] ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
      if (known.includes(etag)) return Answer.empty(304, sent);
      if (file.gzip && acceptsGzip(headers['accept-encoding'])) {
        return Answer.bytes(file.gzip, file.type, { ...sent, 'content-encoding': 'gzip' });
      }
      return Answer.bytes(file.body, file.type, sent);
    },
  });
}

function acceptsGzip(header: string | string[] | undefined): boolean {
  const codings = String(header ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim());
  return codings.some((coding) => /^(gzip|\*)($|;)/.test(coding) && !/;\s*q=0(\.0*)?$/.test(coding));
}
