import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import sqlite3InitModule from '@sqlite.org/sqlite-wasm';
import { LoamError } from '../base/errors.js';
import { scratchFolder } from '../testing/scratch.js';
import { base, examples, pictureOf } from '../testing/vault.js';
import { Vault } from './Vault.js';

/** Files that another program has put into the folder of a vault, and folders that cannot be written. */

const root = scratchFolder();
const home = join(root, 'whole');
{
  await using vault = await Vault.open(home);
  const data = await vault.datasets.add('the data', examples('one'));
  await vault.adapters.addVersion('me', Buffer.from('version one'), { base, datasets: [data] });
}
const whole = await picture(home);
const skip = process.platform === 'win32' ? 'Windows has no pipes and modes among files' : false;

async function picture(of: string): Promise<unknown> {
  await using vault = await Vault.open(of);
  return await pictureOf(vault);
}
function copy(): { home: string; folder: string } {
  const to = mkdtempSync(join(root, 'copy-'));
  cpSync(home, to, { recursive: true });
  return { home: to, folder: join(to, 'vault') };
}

/** Puts something else into the place of a file. */
const kinds: Record<string, (path: string, victim: string) => void> = {
  'a pipe': (path) => void spawnSync('mkfifo', [path]),
  'a link': (path, victim) => symlinkSync(victim, path),
  'a second name of a file elsewhere': (path, victim) => linkSync(victim, path),
  'a folder': (path) => mkdirSync(path),
  'a link to a device without end': (path) => symlinkSync('/dev/zero', path),
};

describe('a vault whose files another program has changed', { skip }, () => {
  const names = [
    'key',
    'index.key',
    'index.sqlite',
    'index.sqlite.copy',
    'key.copy',
    'reserve',
    '.index.key.0123abcd.partial',
  ];
  for (const [kind, put] of Object.entries(kinds)) {
    it(`reads the whole copy, waits for nothing, and writes nothing elsewhere: ${kind}`, async () => {
      const victim = join(root, `victim of ${kind}`);
      writeFileSync(victim, 'precious');
      for (const name of names) {
        const { home: to, folder } = copy();
        rmSync(join(folder, name), { force: true });
        put(join(folder, name), victim);
        // A folder in the place of a file stays in the way of writing it.
        if (kind === 'a folder' && name !== 'reserve') {
          await Vault.open(to).then(
            async (vault) => await vault[Symbol.asyncDispose](),
            (error: unknown) => assert.ok(error instanceof LoamError, `${name}: ${error}`),
          );
          continue;
        }
        await using opened = await Vault.open(to);
        assert.deepEqual(await pictureOf(opened), whole, name);
        await opened.documents.put('note', 'x', Buffer.from('x'));
        await opened.documents.delete('note', 'x');
        await opened.changePassphrase(undefined);
        assert.deepEqual(await picture(to), whole, name);
        assert.ok(readFileSync(victim).equals(Buffer.from('precious')), `${name}: the file elsewhere is as it was`);
      }
    });
  }

  it('takes a content that is no regular file, or a longer one, for damaged', async () => {
    for (const put of [kinds['a pipe']!, kinds['a link to a device without end']!, kinds['a folder']!]) {
      const { home: to, folder } = copy();
      const [name] = readdirSync(join(folder, 'blobs'));
      const path = join(folder, 'blobs', name!);
      rmSync(path);
      put(path, '');
      await using opened = await Vault.open(to);
      assert.match((await opened.check()).join(), /damaged/);
    }
    const { home: to, folder } = copy();
    const path = join(folder, 'blobs', readdirSync(join(folder, 'blobs'))[0]!);
    writeFileSync(path, Buffer.concat([Buffer.from('age-encryption.org/v1\n-> '), Buffer.alloc(10_000_000, 'a')]));
    await using opened = await Vault.open(to);
    assert.match((await opened.check()).join(), /longer than it was/);
  });

  it('reads no index with anything but its own tables', async () => {
    const sqlite = await (sqlite3InitModule as (options: object) => ReturnType<typeof sqlite3InitModule>)({
      print() {},
      printErr() {},
    });
    const hostile = [
      `DROP TABLE entries; CREATE VIEW entries AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)
         SELECT n AS id, 1 AS type, NULL AS blob, x'00' AS sealed FROM c`,
      `CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END`,
      `CREATE VIEW v AS SELECT 1`,
      `CREATE INDEX i ON entries(type)`,
      `DROP TABLE meta; CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL DEFAULT (zeroblob(1000000))) WITHOUT ROWID`,
      `DROP TABLE entries; CREATE VIRTUAL TABLE entries USING fts5(id, type, blob, sealed)`,
    ];
    for (const sql of hostile) {
      const { home: to, folder } = copy();
      const bytes = readFileSync(join(folder, 'index.sqlite'));
      const db = new sqlite.oo1.DB(':memory:', 'c');
      const { capi, wasm } = sqlite;
      const flags = capi.SQLITE_DESERIALIZE_FREEONCLOSE | capi.SQLITE_DESERIALIZE_RESIZEABLE;
      db.checkRc(
        capi.sqlite3_deserialize(
          db.pointer!,
          'main',
          wasm.allocFromTypedArray(new Uint8Array(bytes)),
          bytes.length,
          bytes.length,
          flags,
        ),
      );
      db.exec(sql);
      for (const name of ['index.sqlite', 'index.sqlite.copy']) {
        writeFileSync(join(folder, name), capi.sqlite3_js_db_export(db));
        if (name === 'index.sqlite') assert.deepEqual(await picture(to), whole, sql);
        writeFileSync(join(folder, name), capi.sqlite3_js_db_export(db));
      }
      writeFileSync(join(folder, 'index.sqlite'), capi.sqlite3_js_db_export(db));
      await assert.rejects(Vault.open(to), { code: 'vault-damaged' }, sql);
      db.close();
    }
  });
});

describe('a vault that cannot be written', {
  skip: skip || (process.getuid?.() === 0 && 'the administrator writes everywhere'),
}, () => {
  it('is read all the same, and says so when it is to be changed', async () => {
    const { home: to, folder } = copy();
    for (const path of [folder, join(folder, 'blobs')]) chmodSync(path, 0o500);
    await using opened = await Vault.open(to);
    assert.deepEqual(await pictureOf(opened), whole);
    assert.deepEqual(await opened.check(), []);
    for (const path of [folder, join(folder, 'blobs')]) chmodSync(path, 0o700);
  });
});
