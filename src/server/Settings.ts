import type { Vault } from '../vault/Vault.js';

const KIND = 'settings';
const ID = 'settings';

/** What the user has chosen once for all: a flat object whose keys belong to the front end. */
export class Settings {
  constructor(private readonly vault: Vault) {}

  async get(): Promise<Record<string, unknown>> {
    const bytes = await this.vault.documents.get(KIND, ID);
    return bytes ? (JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>) : {};
  }

  /** Sets the given ones; null takes one away. */
  async change(changes: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
    const all = Object.entries({ ...(await this.get()), ...changes }).filter(([, value]) => value !== null);
    const next = Object.fromEntries(all);
    await this.vault.documents.put(KIND, ID, Buffer.from(JSON.stringify(next)));
    return next;
  }
}
