import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { Decrypter } from 'age-encryption';
import { LoamError, UsageError } from '../base/errors.js';
import { scratchFolder } from '../testing/scratch.js';
import {
  base,
  comparable,
  emptyPicture,
  examples,
  filesBelow,
  filesWith,
  operation,
  pictureOf,
} from '../testing/vault.js';
import { findVersion } from './references.js';
import { Vault } from './Vault.js';

const root = scratchFolder();
const newHome = () => mkdtempSync(join(root, 'home-'));
const refused = (pattern: RegExp) => (error: unknown) => error instanceof LoamError && pattern.test(error.message);

describe('a vault', () => {
  for (const seed of [1, 2]) {
    it(`keeps what a plain model of it keeps, through reopening (random operations, seed ${seed})`, async () => {
      const home = newHome();
      const picture = emptyPicture();
      let vault = await Vault.open(home);
      for (let i = 0; i < 50; i++) {
        const { apply, model } = operation(seed, i);
        await apply(vault);
        model(picture);
        if (i % 10 === 9) {
          assert.deepEqual(await pictureOf(vault), comparable(picture), `after ${i + 1}`);
          await vault[Symbol.asyncDispose]();
          vault = await Vault.open(home);
          assert.deepEqual(await pictureOf(vault), comparable(picture), `reopened after ${i + 1}`);
        }
      }
      const used = vault.storage();
      const blobs = readdirSync(join(home, 'vault', 'blobs'));
      const entries = vault.datasets.list().length + vault.documents.list().length;
      const versions = vault.adapters.list().reduce((sum, adapter) => sum + adapter.versions.length, 0);
      assert.equal(blobs.length, entries + versions, 'a file for each content and none besides');
      assert.equal(
        used.bytes,
        filesBelow(join(home, 'vault')).reduce((sum, path) => sum + statSync(path).size, 0),
      );
      assert.deepEqual(await vault.check(), []);
      await vault[Symbol.asyncDispose]();
    });
  }

  it('leaves no text of the user in any file: after adding, using, deleting', async () => {
    const home = newHome();
    const canary = 'Xylophon-Kanarienvogel-4711';
    const look = (when: string) => assert.deepEqual(filesWith(home, canary), [], when);
    await using vault = await Vault.open(home);
    const data = await vault.datasets.add(`${canary} data`, examples(canary), { findings: { seen: [canary] } });
    const lineage = {
      base: { ...base, name: canary },
      datasets: [{ id: data.id, sha256: data.sha256 }],
      recipe: { note: canary },
    };
    const version = await vault.adapters.addVersion(canary, Buffer.from(`GGUF ${canary}`), lineage, {
      note: canary,
    });
    await vault.documents.put(`chat ${canary}`, canary, Buffer.from(canary));
    look('after adding');
    {
      await using file = await vault.adapters.openForInference(version.id);
      assert.equal(readFileSync(file.path, 'utf8'), `GGUF ${canary}`);
      look('while it is in use');
    }
    await vault.adapters.annotate(version.id, { note: `${canary} again` });
    await vault.datasets.delete(data.id, { withAdapters: true });
    look('after deleting');
    assert.equal(String(Buffer.from((await vault.documents.get(`chat ${canary}`, canary))!)), canary);
    // The same search finds what is there.
    writeFileSync(join(home, 'control'), Buffer.from(`..${canary}..`).toString('base64'));
    assert.deepEqual(filesWith(home, canary), [join(home, 'control')]);
  });

  it('makes what was deleted unreadable for someone who has kept the older files and has the newest key', async () => {
    const home = newHome();
    const folder = join(home, 'vault');
    await using vault = await Vault.open(home);
    const data = await vault.datasets.add('secret', examples('secret'));
    const blob = readdirSync(join(folder, 'blobs'))[0]!;
    await vault.documents.put('note', 'kept', Buffer.from('kept'));
    const old = { index: readFileSync(join(folder, 'index.sqlite')), blob: readFileSync(join(folder, 'blobs', blob)) };
    const before = readFileSync(join(folder, 'index.key'), 'utf8');
    await vault.datasets.delete(data.id);
    assert.equal(existsSync(join(folder, 'blobs', blob)), false);
    assert.notEqual(readFileSync(join(folder, 'index.key'), 'utf8'), before);
    // A thief puts the older index and blob back beside today's key.
    const stolen = newHome();
    for (const path of filesBelow(folder)) {
      const to = join(stolen, 'vault', path.slice(folder.length + 1));
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, readFileSync(path));
    }
    for (const name of ['index.sqlite', 'index.sqlite.copy']) writeFileSync(join(stolen, 'vault', name), old.index);
    writeFileSync(join(stolen, 'vault', 'blobs', blob), old.blob);
    await assert.rejects(Vault.open(stolen), refused(/index.*damaged or gone/));
    assert.equal(String(Buffer.from((await vault.documents.get('note', 'kept'))!)), 'kept');
  });

  it('writes its files for the owner only', { skip: process.platform === 'win32' && 'no such modes' }, async () => {
    const home = newHome();
    await using vault = await Vault.open(home);
    await vault.documents.put('note', 'n', Buffer.from('n'));
    assert.equal(statSync(join(home, 'vault')).mode & 0o777, 0o700);
    for (const path of filesBelow(join(home, 'vault'))) assert.equal(statSync(path).mode & 0o777, 0o600, path);
  });

  it('keeps contents as age v1 files, each with a key of its own', async () => {
    const home = newHome();
    await using vault = await Vault.open(home);
    for (const id of ['1', '2']) await vault.documents.put('note', id, Buffer.from('the same'));
    const files = readdirSync(join(home, 'vault', 'blobs')).map((name) =>
      readFileSync(join(home, 'vault', 'blobs', name)),
    );
    for (const file of files) assert.ok(file.subarray(0, 22).equals(Buffer.from('age-encryption.org/v1\n')));
    assert.equal(files.length, 2);
    assert.ok(!files[0]!.equals(files[1]!));
  });

  it('is gone after destroyEverything, for whoever else has it open too', async () => {
    const home = newHome();
    await using other = await Vault.open(home);
    const vault = await Vault.open(home);
    await vault.documents.put('note', 'n', Buffer.from('n'));
    await vault.destroyEverything();
    assert.equal(Vault.state(home), 'absent');
    assert.deepEqual(readdirSync(join(home, 'vault')), []);
    assert.throws(() => other.documents.list(), refused(/the vault was deleted meanwhile/));
    await using fresh = await Vault.open(home);
    assert.deepEqual(fresh.documents.list(), []);
  });
});

describe('a passphrase', () => {
  it('is asked for, refused where it is wrong, and wraps keys only', async () => {
    const home = newHome();
    const folder = join(home, 'vault');
    await using vault = await Vault.open(home);
    assert.equal(Vault.state(home), 'open');
    await vault.documents.put('note', 'n', Buffer.from('content'));
    const [name] = readdirSync(join(folder, 'blobs'));
    const blob = readFileSync(join(folder, 'blobs', name!));
    const key = readFileSync(join(folder, 'key'), 'latin1').split(' ')[1]!;
    await vault.changePassphrase('sesame öffne dich');
    assert.equal(Vault.state(home), 'passphrase');
    assert.ok(readFileSync(join(folder, 'blobs', name!)).equals(blob), 'contents stay as they are');
    assert.equal(existsSync(join(folder, 'key')) || existsSync(join(folder, 'key.copy')), false);
    await assert.rejects(Vault.open(home), { code: 'locked' });
    await assert.rejects(Vault.open(home, { passphrase: 'sesame' }), { code: 'wrong-passphrase' });
    // The same letters, the accent typed as a character of its own.
    await using again = await Vault.open(home, { passphrase: 'sesame öffne dich'.normalize('NFD') });
    assert.equal(String(Buffer.from((await again.documents.get('note', 'n'))!)), 'content');
    // The library's own decryption, a second implementation of the passphrase stanza, reads the file.
    const decrypter = new Decrypter();
    decrypter.addPassphrase('sesame öffne dich');
    const opened = await decrypter.decrypt(readFileSync(join(folder, 'key.age')), 'text');
    assert.match(opened, /^LOAM-VAULT-KEY-1 [0-9a-f]{64} [0-9a-f]{8}\n$/);
    assert.ok(!opened.includes(key), 'the key that lay in the open is no longer the key');
  });

  it('can be taken away, which another process is told', async () => {
    const home = newHome();
    const vault = await Vault.open(home, { passphrase: 'one' });
    await vault.documents.put('note', 'n', Buffer.from('content'));
    await using other = await Vault.open(home, { passphrase: 'one' });
    await vault.changePassphrase(undefined);
    assert.equal(Vault.state(home), 'open');
    assert.equal(String(Buffer.from((await vault.documents.get('note', 'n'))!)), 'content');
    assert.throws(() => other.documents.list(), { code: 'locked' });
    await vault[Symbol.asyncDispose]();
    await using again = await Vault.open(home);
    assert.equal(String(Buffer.from((await again.documents.get('note', 'n'))!)), 'content');
  });
});

describe('adapters and data sets', () => {
  it('go back to any version or to the bare base, and forward again', async () => {
    await using vault = await Vault.open(newHome());
    const add = (content: string) => vault.adapters.addVersion('me', Buffer.from(content), { base, datasets: [] });
    const [one, two] = [await add('one'), await add('two')];
    const { id } = vault.adapters.list()[0]!;
    assert.equal(vault.adapters.get(id).active, two.id);
    assert.deepEqual(
      vault.adapters.get(id).versions.map(({ number }) => number),
      [2, 1],
    );
    assert.equal((await vault.adapters.use(id, one.id)).active, one.id);
    assert.equal(findVersion(vault, 'vault:me').version?.id, one.id);
    await vault.adapters.use(id, null);
    assert.equal(findVersion(vault, 'me').version, null);
    await vault.adapters.use(id, two.id);
    await vault.adapters.deleteVersion(two.id);
    assert.equal(vault.adapters.get(id).active, null, 'a deleted version is not in use');
    assert.equal((await add('three')).number, 3, 'a number is not given twice');
    await assert.rejects(vault.adapters.use(id, two.id), refused(/no such version/));
    assert.throws(() => findVersion(vault, 'me@2'), refused(/has no version "2", expected base or one of 3, 1/));
  });

  it('keep what one run has made once, whoever asks again', async () => {
    const home = newHome();
    await using vault = await Vault.open(home);
    const run = (id: string, ended = true) => ({ run: { id, ended }, activate: ended });
    const add = (content: string, more: object) =>
      vault.adapters.addVersion('me', Buffer.from(content), { base, datasets: [] }, more);
    const stopped = await add('early', run('one', false));
    const later = await add('later', run('one', false));
    assert.equal((await add('early', run('one', false))).id, stopped.id);
    const [first, ...more] = await Promise.all([1, 2, 3].map(() => add('whole', run('one'))));
    assert.deepEqual(new Set(more.map(({ id }) => id)), new Set([first!.id]));
    // Another process may have come to other bits.
    assert.equal((await add('whole, by other kernels', run('one'))).id, first!.id);
    const other = await add('whole', run('two'));
    assert.deepEqual(
      vault.adapters.list()[0]!.versions.map(({ id }) => id),
      [other.id, first!.id, later.id, stopped.id],
    );
    assert.equal(vault.adapters.list()[0]!.active, other.id);
    assert.deepEqual(
      vault.adapters.madeBy('one').map(({ id }) => id),
      [stopped.id, later.id, first!.id],
    );
    assert.equal(readdirSync(join(home, 'vault', 'blobs')).length, 4, 'nothing is left of what was not kept');
  });

  it('belong to one base model', async () => {
    await using vault = await Vault.open(newHome());
    await vault.adapters.addVersion('me', Buffer.from('1'), { base, datasets: [] });
    const other = { name: 'other', sha256: 'cd'.repeat(32) };
    const adding = vault.adapters.addVersion('me', Buffer.from('2'), {
      base: other,
      datasets: [],
    });
    await assert.rejects(adding, refused(/"me" belongs to the base model tiny/));
    assert.equal(vault.adapters.list()[0]!.versions.length, 1);
  });

  it('tell what was made from what, over versions that began with others; and deleting with adapters takes them along', async () => {
    await using vault = await Vault.open(newHome());
    const one = await vault.datasets.add('one', examples('one'));
    const two = await vault.datasets.add('two', examples('two'));
    const add = (name: string, from: { id: string; sha256: string }[], more: object = {}) =>
      vault.adapters.addVersion(name, Buffer.from(name), { base, datasets: from, ...more });
    const first = await add('first', [one]);
    const second = await add('second', [two], { parent: first.id });
    const third = await add('third', [], { teacher: second.id });
    const apart = await add('first', [two]);
    const ids = (versions: readonly { id: string }[]) => versions.map(({ id }) => id).sort();
    assert.deepEqual(ids(vault.datasets.dependents(one.id)), ids([first, second, third]));
    assert.deepEqual(ids(vault.datasets.dependents(two.id)), ids([second, third, apart]));
    const run = { datasets: [one.id], makes: { adapter: 'first' } };
    assert.deepEqual(await vault.runKeys.get(run), await vault.runKeys.get(run));
    await vault.datasets.delete(one.id, { withAdapters: true });
    assert.deepEqual(
      vault.adapters.list().map(({ name, versions }) => [name, versions.length]),
      [['first', 1]],
    );
    assert.deepEqual(vault.documents.list('run-key'), [], 'what a stopped run has left cannot be read any more');
    await vault.datasets.delete(two.id);
    assert.deepEqual(ids(vault.adapters.list()[0]!.versions), [apart.id], 'without the option adapters stay');
  });

  it('take no version of what was deleted while it was trained, and keep no key of such a run', async () => {
    await using vault = await Vault.open(newHome());
    const data = await vault.datasets.add('data', examples('data'));
    const other = await vault.datasets.add('other', examples('other'));
    const first = await vault.adapters.addVersion('first', Buffer.from('1'), { base, datasets: [other] });
    const run = { datasets: [data.id], parent: first.id, makes: { adapter: 'me' } };
    await vault.runKeys.get({ ...run, parent: undefined });
    await vault.runKeys.get(run);
    await vault.runKeys.get({ ...run, makes: { adapter: 'you' } });
    const add = (more: object) =>
      vault.adapters.addVersion('me', Buffer.from('2'), { base, datasets: [data], ...more });
    await vault.adapters.delete(first.adapter);
    assert.deepEqual(vault.documents.list('run-key'), [], 'a run that began with it');
    for (const more of [{ parent: first.id }, { teacher: first.id }]) {
      await assert.rejects(add(more), { code: 'conflict' });
    }
    await assert.rejects(vault.runKeys.get(run), { code: 'conflict' });
    // Deleted while the adapter is already on its way.
    const [added] = await Promise.allSettled([add({}), vault.datasets.delete(data.id, { withAdapters: true })]);
    if (added.status === 'rejected') assert.equal(added.reason.code, 'conflict');
    await assert.rejects(add({}), { code: 'conflict' });
    assert.deepEqual(vault.adapters.list(), []);
    assert.deepEqual(await vault.check(), []);
  });

  it('leave nothing of a stopped run when the vault is destroyed', async () => {
    for (const how of ['by its owner', 'without its passphrase']) {
      const home = newHome();
      const vault = await Vault.open(home);
      mkdirSync(join(home, 'runs', 'sealed-0123456789abcdef01234567'), { recursive: true });
      mkdirSync(join(home, 'runs', 'of a file'));
      if (how === 'by its owner') await vault.destroyEverything();
      await Vault.destroy(home);
      await vault[Symbol.asyncDispose]();
      assert.deepEqual(readdirSync(home), ['runs'], how);
      assert.deepEqual(readdirSync(join(home, 'runs')), ['of a file'], how);
    }
  });

  it('lose no change of a document when several are made at once', async () => {
    const home = newHome();
    await using one = await Vault.open(home);
    await using two = await Vault.open(home);
    const append = (vault: Vault, i: number) =>
      vault.documents.change('note', 'n', (old) => Buffer.from(`${Buffer.from(old ?? []).toString()}${i};`));
    await Promise.all(Array.from({ length: 10 }, (_, i) => append(i % 2 ? one : two, i)));
    const kept = Buffer.from((await one.documents.get('note', 'n'))!).toString();
    assert.deepEqual(kept.split(';').filter(Boolean).sort(), [...'0123456789']);
    await one.documents.change('note', 'n', () => undefined);
    assert.equal(Buffer.from((await two.documents.get('note', 'n'))!).toString(), kept);
  });

  it('leave excluded records out, and refuse what is no data', async () => {
    await using vault = await Vault.open(newHome());
    const info = await vault.datasets.add('data', examples('text', 4));
    assert.deepEqual([info.examples, info.records], [4, 4]);
    const all = await vault.datasets.load(info.id);
    await vault.datasets.annotate(info.id, { excluded: [2, 0, 2] });
    assert.deepEqual(vault.datasets.get(info.id).excluded, [0, 2]);
    const some = await vault.datasets.load(info.id);
    assert.deepEqual(some.examples, [all.examples[1], all.examples[3]]);
    assert.notEqual(some.sha256, all.sha256);
    await assert.rejects(vault.datasets.add('data', examples('other')), refused(/already a data set "data"/));
    await assert.rejects(vault.datasets.add('x', Buffer.from('[{"a":1}]')), LoamError);
    await assert.rejects(vault.datasets.add('a@b', examples('other')), UsageError);
    await assert.rejects(vault.datasets.add('a\nb', examples('other')), UsageError);
    assert.equal(vault.datasets.list().length, 1);
  });
});
