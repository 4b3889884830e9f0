import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { rounds } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { examples } from '../testing/vault.js';
import { VaultFiles } from './files.js';
import { readIndex } from './indexContent.js';
import { readKeyring } from './keyring.js';
import { readRootKey } from './rootKey.js';
import { Vault } from './Vault.js';

/**
 * A process is killed at each of its file operations in the vault; then another one deletes something. Whoever kept an older index and
 * blob, and reads the folder now, finds no key for what was deleted.
 */

const root = scratchFolder();
const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;
const module = (name: string) => new URL(name, import.meta.url).href;

/** What the process does that is killed. */
const works: Record<string, string> = {
  'deletes another': `await vault.datasets.delete(vault.datasets.list().find(({ name }) => name === 'other').id)`,
  'replaces another': `await vault.datasets.replace(vault.datasets.list().find(({ name }) => name === 'other').id, bytes)`,
  'adds a document': `await vault.documents.put('note', 'n', bytes)`,
  'changes the key': `await vault.changePassphrase(undefined)`,
};
const PROGRAM = `
const [vaultModule, home, work] = process.argv.slice(1);
const { Vault } = await import(vaultModule);
const vault = await Vault.open(home);
const bytes = Buffer.from('[{"instruction":"new","output":"new"}]');
await new Function('vault', 'bytes', \`return (async () => { \${work} })()\`)(vault, bytes);
`;

/** @returns whether it was killed; otherwise it came to its end before that operation */
async function killedAt(home: string, work: string, at: number): Promise<boolean> {
  const program = ['--input-type=module', '-e', PROGRAM, module('./Vault.js'), home, work];
  const child = spawn(process.execPath, ['--import', module('../testing/faults.js'), ...program], {
    env: { ...process.env, LOAM_TEST_FAULTS: JSON.stringify({ root: join(home, 'vault'), at, how: 'kill' }) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('exit', (...ended) => resolve(ended)),
  );
  assert.ok(signal === 'SIGKILL' || code === 0, `${code} ${signal}`);
  return signal !== null;
}

/** Whether a file of the folder holds a key that opens an older index. */
function opens(folder: string, roots: readonly Buffer[], older: Buffer): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (!entry.isFile()) return [];
    const alone = mkdtempSync(join(root, 'alone-'));
    cpSync(join(folder, entry.name), join(alone, 'index.key'));
    const keys = roots.flatMap((key) => readKeyring(new VaultFiles(alone), key)?.keys ?? []);
    const found = readIndex(older, keys, 'index.sqlite');
    const names = [...(found?.entries.values() ?? [])].map(({ value }) => (value as { name?: string }).name);
    found?.image[Symbol.dispose]();
    rmSync(alone, { recursive: true });
    return names.includes('secret') ? [entry.name] : [];
  });
}

const rootOf = async (home: string) => (await readRootKey(new VaultFiles(join(home, 'vault')), undefined)).key;

describe('what was deleted', { skip }, () => {
  it('cannot be opened by anything that a kill has left', async (t) => {
    const whole = join(root, 'whole');
    mkdirSync(whole);
    {
      await using vault = await Vault.open(whole);
      await vault.datasets.add('secret', examples('secret'));
      await vault.datasets.add('other', examples('other'));
    }
    const older = readFileSync(join(whole, 'vault', 'index.sqlite'));
    const first = await rootOf(whole);
    assert.deepEqual(
      opens(join(whole, 'vault'), [first], older).sort(),
      ['index.key', 'index.key.copy'],
      'the looking finds',
    );
    let tried = 0;
    let leftKeys = 0;
    for (const [name, work] of Object.entries(works)) {
      // Every operation, or every so many from another one on in each work.
      const step = rounds(40, 1);
      for (let at = 1 + (tried % step); ; at += step) {
        const home = mkdtempSync(join(root, 'home-'));
        cpSync(whole, home, { recursive: true });
        const folder = join(home, 'vault');
        const where = `${name}, killed at ${at}`;
        // One that has been open all along, or one that opens it afterwards.
        const long = tried % 2 === 0 ? await Vault.open(home) : undefined;
        const killed = await killedAt(home, work, at);
        const roots = [first, await rootOf(home)];
        if (readdirSync(folder).some((file) => file.endsWith('.partial') && opens(folder, roots, older).includes(file)))
          leftKeys++;
        const isLocked = !roots[0]!.equals(roots[1]!);
        const vault = long && !isLocked ? long : await Vault.open(home);
        assert.deepEqual(vault.problems, [], where);
        await vault.datasets.delete(vault.datasets.list().find((info) => info.name === 'secret')!.id);
        assert.deepEqual(opens(folder, [...roots, await rootOf(home)], older), [], where);
        assert.deepEqual(await vault.check(), [], where);
        await vault[Symbol.asyncDispose]();
        await long?.[Symbol.asyncDispose]();
        await using last = await Vault.open(home);
        assert.deepEqual(last.problems, [], where);
        const left = [folder, join(folder, 'blobs')]
          .flatMap((path) => readdirSync(path))
          .filter((file) => file.startsWith('.'));
        assert.deepEqual(left, [], where);
        rmSync(home, { recursive: true });
        if (!killed) break;
        tried++;
      }
    }
    t.diagnostic(`erasure after a kill: tried ${tried}, survived ${tried}; ${leftKeys} kills had left an older key`);
  });
});
