import { networkInterfaces } from 'node:os';
import { quote, UsageError } from '../../base/errors.js';

/** The names under which a server is asked: in the Host header and in the origin of its own pages. */

export interface HostSpec {
  /** Without port; IPv6 in brackets. */
  names: readonly string[];
  /** What the owner lets in besides, such as a proxy's name: with the port that clients see, or without. */
  allowed?: readonly string[];
  /** Origins of apps and pages of others that the owner lets in, with an API key. */
  apps?: readonly string[];
  /** Whether the addresses that the device has at the moment of a request are names too. */
  exposed?: boolean;
}

/** Pages of another name that resolves to this device (DNS rebinding) have another Host. */
export class Hosts {
  private readonly own: ReadonlySet<string>;
  private readonly allowed: ReadonlySet<string>;

  constructor(
    private readonly spec: HostSpec,
    private readonly port: number,
  ) {
    this.own = new Set(this.withPort(spec.names));
    const allowed = (spec.allowed ?? []).flatMap((name) => (/:\d+$/.test(name) ? [name] : [name, `${name}:${port}`]));
    this.allowed = new Set(allowed.map((name) => name.toLowerCase()));
  }

  /** @param localAddress the address that a connection came to */
  has(host: string, localAddress: string | undefined): boolean {
    if (this.own.has(host) || this.allowed.has(host)) return true;
    // Addresses change with the network: they are looked up when they are needed.
    if (!this.spec.exposed) return false;
    const reached = localAddress === undefined ? [] : [named(localAddress.replace(/^::ffff:/, ''))];
    return this.withPort([...reached, ...networkNames()]).includes(host);
  }

  /** Whether a page of this origin is our own. */
  hasOrigin(origin: string, localAddress: string | undefined): boolean {
    const [, scheme, host] = /^(https?):\/\/([^/]+)$/.exec(origin.toLowerCase()) ?? [];
    if (host === undefined) return false;
    // Encryption is a proxy's, which the owner has named.
    return scheme === 'https' ? this.allowed.has(host) : this.has(host, localAddress);
  }

  /** Whether the owner has named this origin: exactly as browsers write it. */
  hasApp(origin: string): boolean {
    return this.spec.apps?.includes(origin) ?? false;
  }

  private withPort(names: readonly string[]): string[] {
    // Browsers leave out port 80.
    const hosts = names.flatMap((name) => [`${name}:${this.port}`, ...(this.port === 80 ? [name] : [])]);
    return hosts.map((host) => host.toLowerCase());
  }
}

/** The name of an address in a URL. */
export function named(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

/**
 * The device's addresses as other devices name it, those that work in a link first: none without a network, and none on systems that do
 * not tell (Android 11 and later).
 */
export function networkNames(): string[] {
  let lists: ReturnType<typeof networkInterfaces>;
  try {
    lists = networkInterfaces();
  } catch {
    return [];
  }
  const found = Object.values(lists)
    .flatMap((list) => list ?? [])
    .filter(({ internal }) => !internal);
  // Browsers take no link-local address of IPv6: it would need the name of an interface.
  const rank = ({ address, family }: { address: string; family: string }) =>
    family === 'IPv4' ? (address.startsWith('169.254.') ? 2 : 0) : address.startsWith('fe80:') ? 3 : 1;
  return found.sort((a, b) => rank(a) - rank(b)).map(({ address }) => named(address));
}

/**
 * An origin as a browser writes it, of a page or of an app's own scheme (`capacitor://localhost`).
 * @throws UsageError for anything that would let in more than one, or none
 */
export function requireOrigin(text: string): void {
  const where = '--allow-origin';
  const expected = 'an origin such as https://app.example or http://localhost:3000';
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\/[^\s/?#@*]+$/.exec(text) ?? [];
  if (scheme !== undefined && scheme !== 'file') {
    if (scheme !== 'http' && scheme !== 'https') return;
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.origin === text) return;
    if (url)
      throw new UsageError({ found: quote(text), expected, where, fix: `write it as browsers do: ${url.origin}` });
  }
  throw new UsageError({ found: quote(text), expected, where, fix: 'name each origin by itself, without a path' });
}
