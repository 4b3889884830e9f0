/**
 * How a page and its server show each other that both know the pairing secret, which crosses no wire. The page sends a nonce; the server
 * answers with a MAC over it (HMAC-SHA-256 under the secret, hex) and over the host name that it was asked under, so that no other
 * program can pass the question on to a server elsewhere. Only then does the page name its session: a MAC of its own, bound to this start
 * of the server and to an end. Server and page share these texts.
 */

/** What the server says of itself. */
export interface Hello {
  /** Of this start of the server: sessions of an earlier one are worth nothing. */
  start: string;
  /** When sessions that begin now end, in seconds since 1970. */
  until: number;
  proof: string;
}

export const helloPath = '/api/session';
export const pairPath = '/api/pairing';

/** What the server's proof is the MAC of. `host` is the Host header, which is also the page's own idea of where it is. */
export function proofText(host: string, nonce: string, { start, until }: Omit<Hello, 'proof'>): string {
  return ['loam server 1', host.toLowerCase(), nonce, start, until].join('\n');
}

/** What the MAC in a session is of. */
export function sessionText({ start, until }: Omit<Hello, 'proof'>): string {
  return ['loam session 1', start, until].join('\n');
}

/** What a page sends as its bearer token. */
export function sessionToken(until: number, mac: string): string {
  return `loam-session.${until}.${mac}`;
}
