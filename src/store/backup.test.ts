import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { Decrypter, Encrypter } from 'age-encryption';
import { type ErrorCode, LoamError } from '../base/errors.js';
import { type Member, readTar, writeTar } from '../base/tar.js';
import { scratchFolder } from '../testing/scratch.js';
import { base, examples, filesBelow, filesWith, operation, pictureOf } from '../testing/vault.js';
import type { BackupSummary } from './backup.js';
import { passphraseRecipient } from './passphrase.js';
import { Vault } from './Vault.js';

const root = scratchFolder();
const newHome = () => mkdtempSync(join(root, 'home-'));
const passphrase = 'nine brown loaves';

async function* pieces(bytes: Uint8Array, length = 1000): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}
async function whole(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of source) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}
/** As it is kept: without what is undefined. */
const kept = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
const isCode = (code: ErrorCode) => (error: unknown) => error instanceof LoamError && error.code === code;

/** The members of an archive, each with its content. */
async function membersOf(tar: Uint8Array): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for await (const { name, content } of readTar(pieces(tar, 700))) found.set(name, await whole(content));
  return found;
}

/** A backup of these members whose passphrase takes no time. */
async function sealed(members: ReadonlyMap<string, Uint8Array>): Promise<Buffer> {
  const list = async function* (): AsyncGenerator<Member, void> {
    for (const [name, bytes] of members) yield { name, size: bytes.length, content: pieces(bytes) };
  };
  return await encrypted(await whole(writeTar(list())));
}

async function encrypted(tar: Uint8Array): Promise<Buffer> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(passphraseRecipient(passphrase, 1));
  return Buffer.from(await encrypter.encrypt(tar));
}

describe('a backup of a vault', () => {
  let vault: Vault;
  let file: Buffer;
  let summary: BackupSummary;
  let members: Map<string, Buffer>;
  let cheap: Buffer;

  before(async () => {
    vault = await Vault.open(newHome());
    for (let i = 0; i < 40; i++) await operation(3, i).apply(vault);
    const { id } = await vault.datasets.add('mine', examples('Where is the mill', 3000));
    // Its hash is of what its columns are, too.
    await vault.datasets.add('table', Buffer.from('a,b\nWhere?,There.\n'), { columns: 'question=a,answer=b' });
    await vault.adapters.addVersion('mill', Buffer.from('one'), { base, datasets: [{ id, sha256: 'cd'.repeat(32) }] });
    await vault.documents.put('drafts', 'drafts', Buffer.from('a key of a browser'));
    await vault.runKeys.get({ datasets: [id], makes: { adapter: 'mill' } });
    const tell = (told: BackupSummary) => {
      summary = told;
    };
    file = await whole(vault.backup(passphrase, tell));
    const decrypter = new Decrypter();
    decrypter.addPassphrase(passphrase);
    const tar = await decrypter.decrypt(file);
    members = await membersOf(tar);
    cheap = await encrypted(tar);
  });

  it('has everything of it, with ids, in another vault, and nothing of this device', async () => {
    const home = newHome();
    await using other = await Vault.open(home, { passphrase: 'another one' });
    const told = await other.restore(pieces(file), passphrase);
    assert.deepEqual(told, summary);
    const local = (picture: unknown) => {
      const { documents, ...rest } = picture as { documents: Record<string, string> };
      const own = Object.entries(documents).filter(([name]) => !/^(drafts|run-key)\//.test(name));
      return { ...rest, documents: Object.fromEntries(own) };
    };
    assert.deepEqual(await pictureOf(other), local(await pictureOf(vault)));
    assert.deepEqual(kept(other.datasets.list()), kept(vault.datasets.list()));
    assert.deepEqual(kept(other.adapters.list()), kept(vault.adapters.list()));
    assert.ok(other.locked);
    assert.deepEqual(await other.check(), []);
    assert.deepEqual(filesWith(home, 'Where is the mill'), []);
    await other[Symbol.asyncDispose]();
    await using again = await Vault.open(home, { passphrase: 'another one' });
    assert.deepEqual(kept(again.adapters.list()), kept(vault.adapters.list()));
    assert.deepEqual([...again.notes, ...again.problems], []);
  });

  it('is an age file with a tar archive, which needs no Loam', async () => {
    const { id } = vault.datasets.list().find(({ name }) => name === 'mine')!;
    assert.deepEqual(members.get(`dataset/${id}`), Buffer.from(await vault.datasets.read(id)));
    assert.ok(![...members.values()].some((bytes) => bytes.includes('a key of a browser')));
    const tar = await whole(
      writeTar(
        (async function* () {
          for (const [name, bytes] of members) yield { name, size: bytes.length, content: pieces(bytes) };
        })(),
      ),
    );
    const listed = spawnSync('tar', ['t'], { input: tar, encoding: 'utf8' });
    if (listed.error) return;
    assert.deepEqual(listed.stdout.trim().split('\n'), [...members.keys()]);
  });

  it('replaces what is there only when told so, and destroys it then', async () => {
    await using other = await Vault.open(newHome());
    await other.datasets.add('theirs', examples('Xylophon'));
    await other.documents.put('drafts', 'drafts', Buffer.from('their key'));
    const before = await pictureOf(other);
    await assert.rejects(other.restore(pieces(cheap), passphrase), (error) => {
      assert.ok(isCode('confirm')(error));
      return /data sets: 1/.test((error as Error).message);
    });
    assert.deepEqual(await pictureOf(other), before);
    await other.restore(pieces(cheap), passphrase, { replace: true });
    assert.deepEqual(kept(other.datasets.list()), kept(vault.datasets.list()));
    assert.equal(Buffer.from((await other.documents.get('drafts', 'drafts'))!).toString(), 'their key');
    // The same onto itself.
    await other.restore(pieces(cheap), passphrase, { replace: true });
    assert.deepEqual(kept(other.adapters.list()), kept(vault.adapters.list()));
    assert.deepEqual(await other.check(), []);
  });

  it('is refused before anything changes if a byte of it is not as it was, or if it is not whole', async () => {
    const home = newHome();
    await using other = await Vault.open(home);
    const { id } = await other.datasets.add('theirs', examples('Xylophon'));
    const state = () => filesBelow(join(home, 'vault')).map((path) => [path, readFileSync(path, 'latin1')]);
    const before = state();
    const refuses = async (bytes: Uint8Array, what: string, by = passphrase) => {
      await assert.rejects(
        other.restore(pieces(bytes, 5000), by, { replace: true }),
        (error) => error instanceof LoamError && /^(damaged|wrong-format|wrong-passphrase)$/.test(error.code),
        what,
      );
      assert.deepEqual(state(), before, what);
    };
    const { length } = cheap;
    for (const at of [0, 25, 60, 90, 150, 170, 1000, 66_000, length >> 1, length - 20, length - 1]) {
      const bytes = Buffer.from(cheap);
      bytes[at]! ^= 1;
      await refuses(bytes, `byte ${at}`);
    }
    for (const end of [0, 10, 100, 180, 65_752, length >> 1, length - 1])
      await refuses(cheap.subarray(0, end), `${end}`);
    await refuses(Buffer.concat([cheap, Buffer.alloc(1)]), 'one byte more');
    await refuses(Buffer.alloc(100_000, 'age-encryption.org/v1\n-> scrypt '), 'a header without end');
    await refuses(cheap, 'another passphrase', 'nine white loaves');
    assert.equal((await other.datasets.read(id)).length, examples('Xylophon').length);
  });

  it('is refused if it was made by someone whose entries contradict themselves, or by a later Loam', async () => {
    await using other = await Vault.open(newHome());
    const refuses = async (code: ErrorCode, change: (members: Map<string, Uint8Array>) => void) => {
      const changed = new Map<string, Uint8Array>(members);
      change(changed);
      await assert.rejects(other.restore(pieces(await sealed(changed)), passphrase), isCode(code), String(change));
      assert.deepEqual([other.datasets.list(), other.adapters.list(), other.documents.list()], [[], [], []]);
    };
    type Listed = { version: number; entries: { id: string; type: string; value: Record<string, unknown> }[] };
    const listed = (change: (list: Listed) => void) => (map: Map<string, Uint8Array>) => {
      const list = JSON.parse(String(map.get('entries.json'))) as Listed;
      change(list);
      map.set('entries.json', Buffer.from(JSON.stringify(list)));
    };
    const first = (list: Listed, type: string) => list.entries.find((entry) => entry.type === type)!;
    const content = [...members.keys()].find((name) => name.startsWith('dataset/'))!;
    await refuses('damaged', (map) => map.delete(content));
    await refuses('damaged', (map) => map.delete('entries.json'));
    await refuses('damaged', (map) => map.set(content, Buffer.from('something else')));
    await refuses('damaged', (map) => map.set(`document/${'0'.repeat(32)}`, Buffer.from('after the list')));
    await refuses('wrong-format', (map) => map.delete('loam-backup.json'));
    await refuses('unsupported', (map) =>
      map.set('loam-backup.json', Buffer.from('{"format":"loam-vault-backup","version":2,"createdAt":""}')),
    );
    await refuses(
      'damaged',
      listed((list) => list.entries.push(first(list, 'document'))),
    );
    await refuses(
      'damaged',
      listed((list) => list.entries.splice(list.entries.indexOf(first(list, 'adapter')), 1)),
    );
    await refuses(
      'damaged',
      listed((list) => {
        first(list, 'adapter').value.active = '1'.repeat(32);
      }),
    );
    await refuses(
      'damaged',
      listed((list) => {
        first(list, 'dataset').value.excluded = 'all';
      }),
    );
    await refuses(
      'damaged',
      listed((list) => {
        first(list, 'document').value.kind = 'run-key';
      }),
    );
  });

  it('says which content is damaged instead of leaving it out', async () => {
    const home = newHome();
    await using damaged = await Vault.open(home);
    await damaged.datasets.add('mine', examples('Where is the mill'));
    const [blob] = filesBelow(join(home, 'vault', 'blobs'));
    const bytes = readFileSync(blob!);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(blob!, bytes);
    await assert.rejects(whole(damaged.backup(passphrase)), (error) => {
      assert.ok(isCode('vault-damaged')(error));
      return /"mine"/.test((error as Error).message);
    });
  });
});
