import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { scratchFolder } from '../testing/scratch.js';
import { base, examples, pictureOf } from '../testing/vault.js';
import { Vault } from './Vault.js';

const root = scratchFolder();
const home = join(root, 'whole');
const vault = await Vault.open(home);
const data = await vault.datasets.add('the data', examples('one'));
await vault.adapters.addVersion('me', Buffer.from('version one'), { base, datasets: [data] });
for (let i = 0; i < 20; i++) await vault.documents.put('note', String(i), Buffer.from(`note ${i}`));
const whole = await pictureOf(vault);
await vault[Symbol.asyncDispose]();

/** A copy of the vault, its files in `folder`. */
function copy(): { home: string; folder: string } {
  const to = mkdtempSync(join(root, 'copy-'));
  cpSync(home, to, { recursive: true });
  return { home: to, folder: join(to, 'vault') };
}
function flip(path: string, bit: number): void {
  const content = readFileSync(path);
  content[bit >> 3]! ^= 1 << (bit & 7);
  writeFileSync(path, content);
}
const random = new Random(7);

describe('damage', () => {
  for (const name of ['index.sqlite', 'index.sqlite.copy', 'index.key', 'index.key.copy', 'key', 'key.copy']) {
    it(`to ${name} loses nothing, for there are two; the next opening mends it`, async () => {
      const { home: to, folder } = copy();
      const good = readFileSync(join(folder, name));
      for (let i = 0; i < 6; i++) {
        flip(join(folder, name), random.below(8 * good.length));
        await using opened = await Vault.open(to);
        assert.deepEqual(await pictureOf(opened), whole);
        assert.deepEqual(opened.problems, []);
        const twin = name.endsWith('.copy') ? name.slice(0, -'.copy'.length) : `${name}.copy`;
        assert.ok(readFileSync(join(folder, name)).equals(readFileSync(join(folder, twin))), 'mended');
      }
      truncateSync(join(folder, name), good.length >> 1);
      await using opened = await Vault.open(to);
      assert.deepEqual(await pictureOf(opened), whole);
    });
  }

  it('by an older copy of a file changes nothing: the newer one counts, whichever of the two is older', async () => {
    for (const [name, passphrase] of [
      ['index.sqlite', undefined],
      ['index.key', undefined],
      ['key', undefined],
      ['key.age', 'the new one'],
    ] as const) {
      for (const [change, kept] of [
        [(v: Vault) => v.documents.put('note', 'new', Buffer.from('new')), 23],
        [(v: Vault) => v.documents.delete('note', '0'), 21],
        [(v: Vault) => v.changePassphrase(passphrase), 22],
      ] as const) {
        // Each of key.age takes some tries of a passphrase, which take their time.
        if (name === 'key.age' ? kept !== 22 : (kept === 22) !== (name === 'key')) continue;
        for (const older of [name, `${name}.copy`]) {
          const { home: to, folder } = copy();
          await (await Vault.open(to)).changePassphrase(passphrase && 'the old one');
          const before = readFileSync(join(folder, older));
          await using writer = await Vault.open(to, { passphrase: passphrase && 'the old one' });
          await change(writer);
          const after = await pictureOf(writer);
          writeFileSync(join(folder, older), before);
          const where = `${older}, ${kept}`;
          if (passphrase) {
            await assert.rejects(Vault.open(to, { passphrase: 'the old one' }), { code: 'wrong-passphrase' }, where);
          }
          await using opened = await Vault.open(to, { passphrase });
          assert.deepEqual(await pictureOf(opened), after, where);
          assert.deepEqual(await opened.check(), [], where);
          const [one, two] = [name, `${name}.copy`].map((path) => readFileSync(join(folder, path)));
          assert.ok(one!.equals(two!), `${where}: mended`);
          assert.equal(readdirSync(join(folder, 'blobs')).length, kept, `${where}: no content is removed`);
        }
      }
    }
  });

  it('by an older index in both places is told, and newer contents are kept until somebody wants them gone', async () => {
    const { home: to, folder } = copy();
    const older = readFileSync(join(folder, 'index.sqlite'));
    {
      await using writer = await Vault.open(to);
      await writer.datasets.add('newer', examples('newer'));
    }
    for (const name of ['index.sqlite', 'index.sqlite.copy']) writeFileSync(join(folder, name), older);
    const contents = readdirSync(join(folder, 'blobs')).length;
    for (let turn = 0; turn < 2; turn++) {
      await using opened = await Vault.open(to);
      const told = [/the last change is not in it/, /does not name 1 content .* older index/];
      assert.match(opened.problems.join(), told[turn]!);
      await opened.documents.delete('note', String(turn));
    }
    assert.equal(readdirSync(join(folder, 'blobs')).length, contents - 2);
    await using opened = await Vault.open(to);
    assert.equal(await opened.removeUnnamed(), 1);
    assert.deepEqual(await opened.check(), []);
  });

  it('by an older state of all of it together is told, whatever has changed since, until something is changed', async () => {
    const changes: [string, (vault: Vault) => Promise<unknown>][] = [
      ['an addition', (v) => v.documents.put('note', 'new', Buffer.from('new'))],
      ['a deletion', (v) => v.documents.delete('note', '3')],
      ['a new version', async (v) => v.adapters.addVersion('me', Buffer.from('two'), { base, datasets: [] })],
      ['a passphrase', (v) => v.changePassphrase('the new one')],
    ];
    for (const [what, change] of changes) {
      const { home: to, folder } = copy();
      const older = `${folder} older`;
      cpSync(folder, older, { recursive: true });
      {
        await using opened = await Vault.open(to);
        await change(opened);
      }
      rmSync(folder, { recursive: true });
      cpSync(older, folder, { recursive: true });
      for (let times = 0; times < 2; times++) {
        await using opened = await Vault.open(to);
        assert.match(
          opened.problems.join(),
          /an older state of the whole vault was put back: the last .*not in it/,
          what,
        );
        assert.deepEqual(await pictureOf(opened), whole);
      }
      {
        await using opened = await Vault.open(to);
        await opened.documents.put('note', '3', Buffer.from('other'));
      }
      await using opened = await Vault.open(to);
      assert.deepEqual(opened.problems, [], what);
    }
  });

  it('is not what another vault in the place is, a moved one, or a new one', async () => {
    const { home: to, folder } = copy();
    const other = mkdtempSync(join(root, 'other-'));
    await (await Vault.open(other))[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
    cpSync(join(other, 'vault'), folder, { recursive: true });
    await using moved = await Vault.open(to);
    assert.deepEqual(moved.problems, []);
    await moved.destroyEverything();
    assert.ok(!readdirSync(to).includes('vault.latest'));
    await using made = await Vault.open(to);
    await made.documents.put('note', 'a', Buffer.from('a'));
    assert.deepEqual(made.problems, []);
    // As an earlier version leaves it.
    const { home: before } = copy();
    rmSync(join(before, 'vault.latest'));
    await using opened = await Vault.open(before);
    assert.deepEqual(opened.problems, []);
    assert.ok(readdirSync(before).includes('vault.latest'));
  });

  it('by an older index beside an open vault: what is in memory counts', async () => {
    const { home: to, folder } = copy();
    await using opened = await Vault.open(to);
    const older = readFileSync(join(folder, 'index.sqlite'));
    await opened.documents.put('note', 'newer', Buffer.from('newer'));
    for (const name of ['index.sqlite', 'index.sqlite.copy']) writeFileSync(join(folder, name), older);
    assert.ok(await opened.documents.get('note', 'newer'));
    assert.match(opened.problems.join(), /an older index/);
    await opened.documents.put('note', 'newest', Buffer.from('newest'));
    await using again = await Vault.open(to);
    assert.deepEqual([again.documents.list('note').length, again.problems.length], [22, 0]);
  });

  it('to the key beside an open vault is told, and a passphrase writes it anew', async () => {
    const { home: to, folder } = copy();
    await using opened = await Vault.open(to);
    for (const name of ['key', 'key.copy']) rmSync(join(folder, name));
    assert.match(opened.problems.join(), /the file with the key of the vault is gone/);
    await assert.rejects(Vault.open(to), { code: 'vault-damaged' });
    await opened.changePassphrase(undefined);
    assert.deepEqual(opened.problems, []);
    await using again = await Vault.open(to);
    assert.deepEqual(await pictureOf(again), whole);
  });

  it('by an older key beside the one in use: the one that opens the index counts', async () => {
    const { home: to, folder } = copy();
    const plain = readFileSync(join(folder, 'key'));
    await using opened = await Vault.open(to);
    await opened.changePassphrase('right');
    const encrypted = readFileSync(join(folder, 'key.age'));
    writeFileSync(join(folder, 'key'), plain);
    assert.equal(Vault.state(to), 'passphrase');
    {
      await using again = await Vault.open(to, { passphrase: 'right' });
      assert.deepEqual([await pictureOf(again), readdirSync(folder).includes('key')], [whole, false]);
      await again.changePassphrase(undefined);
    }
    writeFileSync(join(folder, 'key.age'), encrypted);
    assert.equal(Vault.state(to), 'open');
    await using last = await Vault.open(to);
    assert.deepEqual([await pictureOf(last), readdirSync(folder).includes('key.age')], [whole, false]);
  });

  it('to both copies of the index is told, with what is lost; the rest can be used', async () => {
    let told = 0;
    for (let i = 0; i < 12; i++) {
      const { home: to, folder } = copy();
      const index = join(folder, 'index.sqlite');
      const content = readFileSync(index);
      // In a sealed entry, found by the name of its blob beside it.
      const name = readdirSync(join(folder, 'blobs'))[random.below(22)]!;
      const at = 8 * (content.indexOf(name) + name.length + 20) + random.below(400);
      flip(index, at);
      cpSync(index, `${index}.copy`);
      await using opened = await Vault.open(to);
      assert.equal(opened.problems.length, 1);
      assert.match(
        opened.problems[0]!,
        /the index is damaged: 1 (data set|adapter|adapter version|document) cannot be read any more/,
      );
      const count = opened.datasets.list().length + opened.documents.list().length;
      assert.ok(count >= 20, `${count} of 21 left`);
      assert.deepEqual(await opened.check(), opened.problems, 'all that is listed can be read');
      assert.equal(readdirSync(join(folder, 'blobs')).length, 22, 'nothing is swept from a vault that may be mended');
      await opened.documents.put('note', 'new', Buffer.from('new'));
      assert.equal(String(Buffer.from((await opened.documents.get('note', 'new'))!)), 'new');
      told++;
    }
    assert.equal(told, 12);
  });

  it('to both copies of a whole control file is one clear sentence', async () => {
    for (const [name, pattern] of [
      ['index.sqlite', /both copies of the index are damaged or gone/],
      ['index.key', /the key of the index is damaged or gone/],
      ['key', /the file with the key of the vault is damaged/],
    ] as const) {
      for (const wreck of ['', 'garbage', 'x'.repeat(5000)]) {
        const { home: to, folder } = copy();
        for (const path of [name, `${name}.copy`]) writeFileSync(join(folder, path), wreck);
        await assert.rejects(
          Vault.open(to),
          (error) => error instanceof LoamError && error.code === 'vault-damaged' && pattern.test(error.message),
        );
      }
    }
    const { home: to, folder } = copy();
    for (const name of ['key', 'key.copy']) rmSync(join(folder, name));
    assert.equal(Vault.state(to), 'keyless');
    await assert.rejects(Vault.open(to), /the file with the key of the vault is gone/);
    // The vault whose key is gone can only be ended.
    await Vault.destroy(to);
    await using fresh = await Vault.open(to);
    assert.deepEqual(fresh.datasets.list(), []);
  });

  it('to a content names it; all others can be read', async () => {
    for (let i = 0; i < 8; i++) {
      const { home: to, folder } = copy();
      const [name] = readdirSync(join(folder, 'blobs')).slice(i);
      const path = join(folder, 'blobs', name!);
      if (i === 0) rmSync(path);
      else if (i === 1) truncateSync(path, 30);
      else if (i === 2) writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.from('x')]));
      else flip(path, random.below(8 * readFileSync(path).length));
      await using opened = await Vault.open(to);
      const problems = await opened.check();
      assert.equal(problems.length, 1, problems.join());
      assert.match(problems[0]!, /(the data set "the data"|version 1 of "me"|a document of kind "note") is damaged/);
      assert.match(problems[0]!, new RegExp(`blobs/${name}`));
    }
  });

  it('to the file of a passphrase is not taken for a wrong passphrase, while its copy is whole', async () => {
    const { home: to, folder } = copy();
    {
      await using opened = await Vault.open(to);
      await opened.changePassphrase('right');
    }
    const size = readFileSync(join(folder, 'key.age')).length;
    for (const name of ['key.age', 'key.age.copy']) {
      flip(join(folder, name), 8 * (size - 5));
      await using opened = await Vault.open(to, { passphrase: 'right' });
      assert.deepEqual(await pictureOf(opened), whole);
    }
    await assert.rejects(Vault.open(to, { passphrase: 'wrong' }), { code: 'wrong-passphrase' });
    for (const name of ['key.age', 'key.age.copy']) writeFileSync(join(folder, name), 'age-encryption.org/v1\n');
    await assert.rejects(Vault.open(to, { passphrase: 'right' }), { code: 'vault-damaged' });
  });

  it('by swapping what belongs to two entries is seen', async () => {
    const { home: to, folder } = copy();
    const [one, two] = readdirSync(join(folder, 'blobs'));
    const path = (name: string) => join(folder, 'blobs', name);
    const content = readFileSync(path(one!));
    writeFileSync(path(one!), readFileSync(path(two!)));
    writeFileSync(path(two!), content);
    await using opened = await Vault.open(to);
    assert.equal((await opened.check()).length, 2);
  });
});
