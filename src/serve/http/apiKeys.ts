import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { LoamError } from '../../base/errors.js';
import { ifPresent, readText, writeFileAtomic } from '../../base/io.js';
import { Mutex } from '../../base/lock.js';
import { Vault } from '../../store/Vault.js';
import { type ApiKey, KeyFile, type KeyInput, type NewApiKey } from '../contract/access.js';
import { validate } from './validate.js';

/**
 * Keys for programs that speak the API: each has a name, may do what its scope says, and is ended by itself. A file of the owner's keeps
 * their hashes, which is enough for 24 random bytes. Whoever writes it holds the server's lock: the server, or a command while none runs.
 */

/** Chat programs look for the beginning of OpenAI's keys. */
const PREFIX = 'sk-loam-';
const SECRET_BYTES = 24;
const MAX_KEYS = 200;
const MAX_FILE_BYTES = 1 << 20;
const DAY_MS = 86_400_000;

/** Where a server keeps what the commands of the same user need to reach it; readable by the user only. */
export function serverFolder(home: string): string {
  return join(home, 'server');
}

type StoredKey = KeyFile['keys'][number];

export class ApiKeys {
  private readonly writing = new Mutex();

  private constructor(
    private readonly home: string,
    private stored: readonly StoredKey[],
  ) {}

  /** @throws LoamError for a file that is damaged: no key may come to life again by its loss */
  static async open(home: string): Promise<ApiKeys> {
    return new ApiKeys(home, await readKeys(keysPath(home)));
  }

  /** Oldest first. */
  list(): ApiKey[] {
    return this.stored.map(({ sha256: _, ...key }) => key);
  }

  /** @returns the key that a program sent, unless it is unknown or has ended */
  find(secret: string): ApiKey | undefined {
    const sha256 = hashOf(secret);
    const found = this.stored.find((key) => key.sha256 === sha256);
    if (!found || (found.endsAt !== undefined && Date.parse(found.endsAt) <= Date.now())) return undefined;
    void this.use(found.id);
    return found;
  }

  /** @throws LoamError: exists; too-large */
  async add({ name, scope = 'chat', adapter, days }: KeyInput): Promise<NewApiKey> {
    const secret = `${PREFIX}${randomBytes(SECRET_BYTES).toString('base64url')}`;
    const now = Date.now();
    const key: ApiKey = {
      id: randomBytes(4).toString('hex'),
      name,
      scope,
      ...(adapter !== undefined && { adapter }),
      createdAt: new Date(now).toISOString(),
      ...(days !== undefined && { endsAt: new Date(now + days * DAY_MS).toISOString() }),
    };
    await this.change((keys) => {
      if (keys.some((one) => one.name === name)) {
        throw new LoamError({
          code: 'exists',
          found: 'there is a key of this name',
          fix: 'choose another, or revoke it',
        });
      }
      if (keys.length >= MAX_KEYS) {
        throw new LoamError({ code: 'too-large', found: `${MAX_KEYS} keys`, fix: 'revoke those that nobody uses' });
      }
      return [...keys, { ...key, sha256: hashOf(secret) }];
    });
    return { ...key, key: secret };
  }

  /** @returns whether there was one */
  async revoke(id: string): Promise<boolean> {
    const had = this.stored.some((key) => key.id === id);
    if (had) await this.change((keys) => keys.filter((key) => key.id !== id));
    return had;
  }

  async revokeAll(): Promise<void> {
    if (this.stored.length > 0) await this.change(() => []);
  }

  /** Notes the day of a use, once a day. That it cannot be noted is no reason to refuse an answer. */
  private async use(id: string): Promise<void> {
    const usedOn = new Date().toISOString().slice(0, 10);
    if (this.stored.find((key) => key.id === id)?.usedOn === usedOn) return;
    // In memory at once, so that a hundred requests do not write a hundred times.
    const note = (keys: readonly StoredKey[]) => keys.map((key) => (key.id === id ? { ...key, usedOn } : key));
    this.stored = note(this.stored);
    await this.change(note).catch(() => {});
  }

  /** What is valid is what is on the disk: a key that could not be written down is not given out. */
  private async change(to: (keys: readonly StoredKey[]) => readonly StoredKey[]): Promise<void> {
    await this.writing.run(async () => {
      const next = to(this.stored);
      const text = `${JSON.stringify({ version: 1, keys: next }, null, 1)}\n`;
      // A key can be revoked on a full disk, too.
      await Vault.withRoom(this.home, () => writeFileAtomic(keysPath(this.home), text));
      this.stored = next;
    });
  }
}

function keysPath(home: string): string {
  return join(serverFolder(home), 'keys.json');
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

async function readKeys(path: string): Promise<readonly StoredKey[]> {
  const text = await ifPresent(readText(path, MAX_FILE_BYTES));
  if (text === undefined) return [];
  try {
    const value: unknown = JSON.parse(text);
    validate(KeyFile, value, 'keys');
    return value.keys;
  } catch (cause) {
    throw new LoamError(
      {
        code: 'damaged',
        found: 'the list of API keys cannot be read',
        where: path,
        fix: 'remove the file and make new keys with "loam keys add"',
      },
      { cause },
    );
  }
}
