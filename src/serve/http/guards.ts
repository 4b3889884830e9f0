import type { IncomingMessage } from 'node:http';
import { HttpError } from './errors.js';
import type { Hosts } from './hosts.js';

/** What of a request is looked at before anything else. */
type Asked = Pick<IncomingMessage, 'headers' | 'rawHeaders'> & { socket: { localAddress?: string } };

/**
 * What every request must satisfy, whatever its address: before a body is read and before a handler runs.
 * @throws HttpError: foreign-host, foreign-origin
 */
export function checkOrigin({ headers, rawHeaders, socket }: Asked, hosts: Hosts): void {
  const host = headers.host?.toLowerCase();
  const named = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (host === undefined || named !== 1 || !hosts.has(host, socket.localAddress)) {
    throw new HttpError(
      'foreign-host',
      'this server does not answer to that host name; its owner can let the name in: loam serve --allow-host NAME',
    );
  }
  // Browsers name the page that a request comes from; other programs send no Origin.
  const { origin } = headers;
  if (origin !== undefined && !hosts.hasOrigin(origin, socket.localAddress)) {
    throw new HttpError('foreign-origin', 'requests from other origins are refused');
  }
  const site = headers['sec-fetch-site'];
  // A link in another page, clicked by the user, may open this one: nothing but the page's files comes of it.
  const opens = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  if ((site === 'cross-site' || site === 'same-site') && !opens) {
    throw new HttpError('foreign-origin', 'requests from other origins are refused');
  }
}
