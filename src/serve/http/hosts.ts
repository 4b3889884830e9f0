import { networkInterfaces } from 'node:os';

/** The names under which a server is asked: in the Host header and in the origin of its own pages. */

export interface HostSpec {
  /** Without port; IPv6 in brackets. */
  names: readonly string[];
  /** What the owner lets in besides, such as a proxy's name: with the port that clients see, or without. */
  allowed?: readonly string[];
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
