import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../base/random.js';
import { scratchFolder } from '../testing/scratch.js';
import { comparable, emptyPicture, examples, operation, pictureOf } from '../testing/vault.js';
import { Vault } from './Vault.js';

/** Processes that are killed while they write to a vault, and several that write to one at once. */

const root = scratchFolder();
const newHome = () => mkdtempSync(join(root, 'home-'));
const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;

/** What the other process runs: operations from a number on, each told when it is done. */
const OPERATIONS = `
const [vaultModule, helper, home, seed, from] = process.argv.slice(1);
const { Vault } = await import(vaultModule);
const { operation } = await import(helper);
const vault = await Vault.open(home);
for (let i = Number(from); i < Number(from) + 200; i++) {
  await operation(Number(seed), i).apply(vault);
  console.log(i);
}
`;
/** Adds documents under its own name, and reads all that are there. */
const DOCUMENTS = `
const [vaultModule, , home, name, count] = process.argv.slice(1);
const { Vault } = await import(vaultModule);
const vault = await Vault.open(home);
for (let i = 0; i < Number(count); i++) {
  await vault.documents.put('note', name + i, Buffer.from(name + i));
  await vault.documents.put('shared', 'counter', Buffer.from(name));
  for (const { id } of vault.documents.list('note')) {
    const content = await vault.documents.get('note', id);
    if (content && String(Buffer.from(content)) !== id) throw new Error('another content');
  }
  if (i % 2 === 1) await vault.documents.delete('note', name + (i - 1));
}
`;
const modules = ['./Vault.js', '../testing/vault.js'].map((name) => new URL(name, import.meta.url).href);
const start = (program: string, ...args: string[]) =>
  spawn(process.execPath, ['--input-type=module', '-e', program, ...modules, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });

describe('a vault', { skip }, () => {
  it('is as before or as after, whenever its writer is killed', async () => {
    const home = newHome();
    const seed = 5;
    const random = new Random(11);
    const picture = emptyPicture();
    let next = 0;
    const cut = { before: 0, after: 0 };
    await (await Vault.open(home))[Symbol.asyncDispose]();
    for (let round = 0; round < 10; round++) {
      const child = start(OPERATIONS, home, String(seed), String(next));
      const closed = new Promise((resolve) => child.once('close', resolve));
      const patience = 1 + random.below(5);
      let told = 0;
      for await (const _ of createInterface({ input: child.stdout })) {
        next++;
        operation(seed, next - 1).model(picture);
        // At some time within the operation after this one.
        if (++told === patience) void sleep(random.below(60)).then(() => child.kill('SIGKILL'));
      }
      await closed;
      await using vault = await Vault.open(home);
      const found = JSON.stringify(await pictureOf(vault));
      if (found === JSON.stringify(comparable(picture))) cut.before++;
      else {
        operation(seed, next++).model(picture);
        assert.equal(found, JSON.stringify(comparable(picture)), `round ${round}`);
        cut.after++;
      }
      assert.deepEqual(await vault.check(), []);
      const contents =
        vault.datasets.list().length +
        vault.documents.list().length +
        vault.adapters.list().reduce((sum, { versions }) => sum + versions.length, 0);
      assert.equal(readdirSync(join(home, 'vault', 'blobs')).length, contents, 'what the crash left is swept');
    }
    assert.equal(cut.before + cut.after, 10);
  });

  it('loses nothing when several processes write at once', async () => {
    const home = newHome();
    await using vault = await Vault.open(home);
    const codes = await Promise.all(
      ['a', 'b', 'c'].map((name) => {
        const child = start(DOCUMENTS, home, name, '6');
        return new Promise((resolve) => child.once('exit', resolve));
      }),
    );
    assert.deepEqual(codes, [0, 0, 0]);
    const ids = vault.documents.list('note').map(({ id }) => id);
    assert.deepEqual(ids.sort(), ['a', 'b', 'c'].flatMap((name) => [1, 3, 5].map((i) => `${name}${i}`)).sort());
    assert.equal(vault.documents.list('shared').length, 1);
    assert.deepEqual(await vault.check(), []);
  });

  it('is made once, by whichever of two processes is first', async () => {
    const home = newHome();
    const children = ['a', 'b'].map((name) => start(DOCUMENTS, home, name, '1'));
    const codes = await Promise.all(children.map((child) => new Promise((resolve) => child.once('exit', resolve))));
    assert.deepEqual(codes, [0, 0]);
    await using vault = await Vault.open(home);
    assert.equal(vault.documents.list('note').length, 2);
  });

  it('sweeps partial files of dead processes, and leaves those of living ones', async () => {
    const home = newHome();
    await (await Vault.open(home))[Symbol.asyncDispose]();
    const blobs = join(home, 'vault', 'blobs');
    const child = start('', home);
    const dead = child.pid;
    await new Promise((resolve) => child.once('exit', resolve));
    const name = 'ab'.repeat(16);
    for (const file of [`.${dead}-${name}.partial`, `.${process.pid}-${name}.partial`, name, 'not-ours']) {
      writeFileSync(join(blobs, file), 'x');
    }
    // Of a pair, written under the lock only, which may hold a key that a deletion has destroyed since.
    for (const file of ['.index.key.0123abcd.partial', '.key.copy.0123abcd.partial']) {
      writeFileSync(join(home, 'vault', file), 'x');
    }
    await using vault = await Vault.open(home);
    // What has a name was named by an index once: it may be an older index that does not name it.
    assert.deepEqual(readdirSync(blobs).sort(), [`.${process.pid}-${name}.partial`, name, 'not-ours'].sort());
    assert.match(vault.problems.join(), /does not name 1 content/);
    assert.equal(await vault.removeUnnamed(), 1);
    assert.deepEqual([vault.problems.length, readdirSync(blobs).includes(name)], [0, false]);
    assert.deepEqual(
      readdirSync(join(home, 'vault')).filter((file) => file.startsWith('.')),
      [],
    );
  });

  it('deletes, renames and chooses where there is no room for a new file', async () => {
    const home = newHome();
    const vault = await Vault.open(home);
    const { id } = await vault.datasets.add('one', examples('one'));
    const kept = await vault.datasets.add('two', examples('two'));
    await vault.documents.put('note', 'n', Buffer.from('note'));
    const index = join(home, 'vault', 'index.sqlite');
    const older = readFileSync(index);
    const { open } = promises;
    const full = async (...[path, ...rest]: Parameters<typeof open>) => {
      if (String(path).endsWith('.partial')) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
      return await open(path, ...rest);
    };
    Object.assign(promises, { open: full });
    syncBuiltinESMExports();
    try {
      await vault.datasets.delete(id);
      await vault.datasets.rename(kept.id, 'three');
      await vault.documents.delete('note', 'n');
      await assert.rejects(vault.documents.put('note', 'm', Buffer.from('no room for it')), { code: 'disk-full' });
    } finally {
      Object.assign(promises, { open });
      syncBuiltinESMExports();
      await vault[Symbol.asyncDispose]();
    }
    await using again = await Vault.open(home);
    assert.deepEqual(
      [again.datasets.list().map(({ name }) => name), again.documents.list(), again.problems],
      [['three'], [], []],
    );
    assert.equal(readdirSync(join(home, 'vault', 'blobs')).length, 1);
    await again[Symbol.asyncDispose]();
    // The key of what was deleted is gone from the file that was overwritten.
    for (const path of [index, `${index}.copy`]) writeFileSync(path, older);
    await assert.rejects(Vault.open(home), { code: 'vault-damaged' });
  });

  it('gives other work its turn while it encrypts', async () => {
    await using vault = await Vault.open(newHome());
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const { id } = await vault.datasets.add('large', examples('some text of a certain length '.repeat(40), 4000));
    await vault.datasets.read(id);
    clearInterval(timer);
    assert.ok(turns > 10, `${turns} turns`);
  });

  it('answers while it writes, and writes on afterwards', async () => {
    await using vault = await Vault.open(newHome());
    let writing = true;
    let asked = 0;
    const reader = (async () => {
      while (writing) {
        const { length } = vault.documents.list('note');
        assert.ok(length <= 12);
        asked++;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let i = 0; i < 12; i++) {
      await vault.documents.put('note', String(i), Buffer.from(`note ${i}`));
      // A deletion changes the key of the index, in several writes.
      if (i % 3 === 2) await vault.documents.delete('note', String(i));
    }
    writing = false;
    await reader;
    assert.ok(asked > 12, 'it was asked in the middle of writes');
    assert.deepEqual(
      vault.documents
        .list('note')
        .map(({ id }) => id)
        .sort(),
      ['0', '1', '10', '3', '4', '6', '7', '9'],
    );
    for (const { id } of vault.documents.list('note')) {
      assert.equal(Buffer.from((await vault.documents.get('note', id))!).toString(), `note ${id}`);
    }
  });
});
