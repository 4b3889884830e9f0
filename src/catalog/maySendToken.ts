import { isIP } from 'node:net';

/** A token may travel over TLS, or to this very device; never readable over a network. */
export function maySendToken(url: URL): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const loopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  return url.protocol === 'https:' || loopback;
}
