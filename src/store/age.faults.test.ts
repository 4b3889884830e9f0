import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync, inflateSync } from 'node:zlib';
import { Decrypter } from 'age-encryption';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { base, comparable, emptyPicture, examples, operation, pictureOf } from '../testing/vault.js';
import { Contents } from './contents.js';
import { VaultFiles } from './files.js';
import type { Entry } from './indexContent.js';
import { passphraseIdentity } from './passphrase.js';
import { newRootKey } from './rootKey.js';
import { Vault } from './Vault.js';
import { VaultIndex } from './vaultIndex.js';

/**
 * What the vault reads of age's format, held against the published vectors, and encrypted files that somebody has changed. The vectors
 * are those of C2SP/CCTV (github.com/C2SP/CCTV, 0BSD or CC0-1.0 or Unlicense), without those of armour and of hybrid keys, which the
 * vault does not read.
 */

const root = scratchFolder();
const newHome = () => mkdtempSync(join(root, 'home-'));
const count = { tried: 0 };

interface Vector {
  name: string;
  expect: string;
  payload?: string;
  identity?: string;
  passphrase?: string;
  file: Buffer;
}

function readVectors(): Vector[] {
  const packed = readFileSync(new URL('../testing/ageVectors.json.gz', import.meta.url));
  const all = JSON.parse(gunzipSync(packed).toString()) as Record<string, string>;
  return Object.entries(all).map(([name, text]) => {
    const bytes = Buffer.from(text, 'base64');
    const end = bytes.indexOf('\n\n');
    const head = Object.fromEntries(
      bytes
        .toString('utf8', 0, end)
        .split('\n')
        .map((line) => line.split(': ') as [string, string]),
    );
    const body = bytes.subarray(end + 2);
    return { ...head, name, file: head.compressed === 'zlib' ? inflateSync(body) : body } as Vector;
  });
}

const vectors = readVectors();
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const isStated = (error: unknown) =>
  error instanceof LoamError && ['vault-damaged', 'wrong-passphrase', 'too-large'].includes(error.code);

describe("age's vectors", () => {
  it('of files with a key of their own, as contents of a vault', async () => {
    const files = new VaultFiles(join(newHome(), 'vault'));
    await files.make();
    await using index = await VaultIndex.open(files, newRootKey(), true);
    const contents = new Contents(index, files.blobs);
    const read = async ({ file, identity }: Vector, bytes: number) => {
      const name = randomBytes(16).toString('hex');
      writeFileSync(files.blobs.path(name), file);
      const entry: Entry = { id: name, type: 'document', blob: { name, secret: identity! }, value: {} };
      await index.update(() => ({ change: { put: [entry] }, result: undefined }));
      return await contents.read(entry, bytes, 'a document');
    };
    for (const vector of vectors.filter(({ identity, passphrase }) => identity && !passphrase)) {
      count.tried++;
      if (vector.expect === 'success') {
        const decrypter = new Decrypter();
        decrypter.addIdentity(vector.identity!);
        const { length } = await decrypter.decrypt(vector.file);
        assert.equal(sha256(await read(vector, length)), vector.payload, vector.name);
      } else {
        // All or nothing comes out, whatever was whole before the fault.
        await assert.rejects(read(vector, 32 << 20), /its content was changed/, vector.name);
      }
    }
  });

  it('of passphrases, as the key file of a vault', async () => {
    const home = newHome();
    {
      await using vault = await Vault.open(home);
      await vault.changePassphrase('to be replaced');
    }
    for (const { name, expect, payload, passphrase, file } of vectors.filter((vector) => vector.passphrase)) {
      count.tried++;
      const decrypter = new Decrypter();
      decrypter.addIdentity(passphraseIdentity(passphrase!));
      if (expect === 'success') assert.equal(sha256(await decrypter.decrypt(file)), payload, name);
      else await assert.rejects(decrypter.decrypt(file), Error, name);
      // None of them holds the key of a vault.
      for (const key of ['key.age', 'key.age.copy']) writeFileSync(join(home, 'vault', key), file);
      await assert.rejects(Vault.open(home, { passphrase }), isStated, name);
    }
  });

  it('a work factor that would take the memory of a phone is refused at once', async () => {
    const { file, passphrase } = vectors.find(({ name }) => name === 'scrypt_work_factor_23')!;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 5; i++) {
      const decrypter = new Decrypter();
      decrypter.addIdentity(passphraseIdentity(passphrase!));
      const began = performance.now();
      await assert.rejects(decrypter.decrypt(file), { code: 'too-large' });
      least = Math.min(least, performance.now() - began);
    }
    assert.ok(least < 50, `${least} ms`);
  });
});

describe('an encrypted file that was changed', () => {
  it('gives nothing: a content with a bit flipped, cut off, made longer, or of another entry', async () => {
    const home = newHome();
    await using vault = await Vault.open(home);
    await vault.datasets.add('data', examples('text', 3));
    await vault.documents.put('note', 'n', randomBytes(200_000));
    const blobs = join(home, 'vault', 'blobs');
    const random = new Random(3);
    const names = readdirSync(blobs);
    for (let i = 0; i < rounds(120, 4000); i++) {
      const name = names[i % names.length]!;
      const path = join(blobs, name);
      const whole = readFileSync(path);
      const changed = Buffer.from(whole);
      const way = random.below(4);
      if (way < 2) changed[random.below(whole.length)]! ^= 1 << random.below(8);
      const other = readFileSync(join(blobs, names[(i + 1) % names.length]!));
      const content = [
        changed,
        changed,
        whole.subarray(0, random.below(whole.length)),
        Buffer.concat([whole, changed.subarray(0, 1 + random.below(99))]),
      ];
      writeFileSync(path, i % 10 === 9 ? other : content[way]!);
      const problems = await vault.check();
      assert.equal(problems.length, 1, `round ${i}`);
      assert.match(problems[0]!, /is damaged/);
      writeFileSync(path, whole);
      count.tried++;
    }
    assert.deepEqual(await vault.check(), []);
  });

  it('gives nothing: a key file with a bit flipped, or a wrong passphrase', async () => {
    const home = newHome();
    {
      await using vault = await Vault.open(home);
      await vault.changePassphrase('right');
    }
    const paths = ['key.age', 'key.age.copy'].map((name) => join(home, 'vault', name));
    const whole = readFileSync(paths[0]!);
    const random = new Random(5);
    for (let i = 0; i < rounds(4, 300); i++) {
      const changed = Buffer.from(whole);
      changed[random.below(whole.length)]! ^= 1 << random.below(8);
      for (const path of paths) writeFileSync(path, changed);
      await assert.rejects(Vault.open(home, { passphrase: 'right' }), isStated, `round ${i}`);
      count.tried++;
    }
    for (const path of paths) writeFileSync(path, whole);
    await assert.rejects(Vault.open(home, { passphrase: 'wrong' }), { code: 'wrong-passphrase' });
    await using opened = await Vault.open(home, { passphrase: 'right' });
    assert.deepEqual(opened.problems, []);
  });
});

describe('older files put back', () => {
  it('are told or make no difference, and the newer contents stay', async (t) => {
    const random = new Random(9);
    const seen = { told: 0, same: 0, refused: 0 };
    for (let round = 0; round < rounds(20, 1000); round++) {
      const home = newHome();
      const folder = join(home, 'vault');
      const older = join(root, `older ${round}`);
      const picture = emptyPicture();
      {
        await using vault = await Vault.open(home);
        await vault.adapters.addVersion('a', Buffer.from('first'), { base, datasets: [] });
        operationsOf(picture);
        const [first, last] = [4 + random.below(4), 9 + random.below(4)];
        for (let i = 0; i < last; i++) {
          if (i === first) cpSync(folder, older, { recursive: true });
          await operation(round, i).apply(vault);
          operation(round, i).model(picture);
        }
      }
      const after = JSON.stringify(comparable(picture));
      const controls = readdirSync(folder).filter((name) => /^(key|index)/.test(name));
      let blobs = readdirSync(join(folder, 'blobs'));
      // One copy, both copies, or everything but the number of the last index; and contents that were there then.
      const chosen = [
        [controls[random.below(controls.length)]!],
        ['index.sqlite', 'index.sqlite.copy'],
        controls.filter(() => random.uniform() < 0.5),
        ['index.sqlite', 'index.sqlite.copy', 'index.key', 'index.key.copy'],
        ['everything'],
      ][round % 5]!;
      if (chosen[0] === 'everything') {
        rmSync(folder, { recursive: true });
        cpSync(older, folder, { recursive: true });
        blobs = [];
      } else for (const name of chosen) cpSync(join(older, name), join(folder, name));
      for (const name of readdirSync(join(older, 'blobs'))) {
        if (random.uniform() < 0.3) cpSync(join(older, 'blobs', name), join(folder, 'blobs', name));
      }
      const where = `round ${round}: ${chosen.join(', ')}`;
      try {
        await using opened = await Vault.open(home);
        const told = [...opened.problems, ...(await opened.check())];
        seen[told.length === 0 ? 'same' : 'told']++;
        if (told.length === 0) assert.equal(JSON.stringify(await pictureOf(opened)), after, `${where}: silently other`);
      } catch (error) {
        if (!isStated(error)) throw error;
        seen.refused++;
      }
      const left = new Set(readdirSync(join(folder, 'blobs')));
      assert.deepEqual(
        blobs.filter((name) => !left.has(name)),
        [],
        `${where}: a newer content was removed`,
      );
      rmSync(home, { recursive: true });
      rmSync(older, { recursive: true });
      count.tried++;
    }
    assert.ok(Math.min(...Object.values(seen)) > 0, JSON.stringify(seen));
    t.diagnostic(`older files put back: ${JSON.stringify(seen)}`);
    t.diagnostic(`campaign 18: tried ${count.tried}, survived ${count.tried}`);
  });
});

/** The adapter that the vault of each round begins with. */
function operationsOf(picture: ReturnType<typeof emptyPicture>): void {
  picture.adapters.a = { versions: { 1: 'first' }, active: 1, next: 2 };
}
