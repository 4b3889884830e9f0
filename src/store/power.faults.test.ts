import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { FileFaults, type How, rounds } from '../testing/faults.js';
import { PowerLoss } from '../testing/powerLoss.js';
import { scratchFolder } from '../testing/scratch.js';
import { comparable, emptyPicture, operation, pictureOf } from '../testing/vault.js';
import { Vault } from './Vault.js';

/** A vault on a disk that fails: any one file operation of a change, or the power at any moment of it. */

const root = scratchFolder();
const newHome = () => mkdtempSync(join(root, 'home-'));
const skip = process.platform === 'win32' ? 'names of open files cannot be taken away on Windows' : false;

/** A vault after the first `count` operations of a sequence, and the picture of it. */
async function filled(seed: number, count: number) {
  const home = newHome();
  const picture = emptyPicture();
  await using vault = await Vault.open(home);
  for (let i = 0; i < count; i++) {
    await operation(seed, i).apply(vault);
    operation(seed, i).model(picture);
  }
  return { home, picture };
}

async function check(home: string, allowed: readonly string[], where: string): Promise<number> {
  await using vault = await Vault.open(home);
  assert.deepEqual(await vault.check(), [], where);
  const found = allowed.indexOf(JSON.stringify(await pictureOf(vault)));
  assert.notEqual(found, -1, `${where}: neither the state before nor the one after`);
  const contents =
    vault.datasets.list().length +
    vault.documents.list().length +
    vault.adapters.list().reduce((sum, { versions }) => sum + versions.length, 0);
  // The writer of an unfinished file is this process, which lives.
  const left = ['vault', 'vault/blobs'].flatMap((folder) =>
    readdirSync(join(home, folder)).filter((name) => name.endsWith('.partial') && !name.includes(`-${process.pid}-`)),
  );
  assert.deepEqual(left, [], `${where}: nothing is left over`);
  const blobs = readdirSync(join(home, 'vault', 'blobs')).filter((name) => !name.endsWith('.partial'));
  assert.equal(blobs.length, contents, `${where}: nothing is left over`);
  return found;
}

describe('a vault on a disk that fails', { skip }, () => {
  it('is in an earlier whole state after a power cut', async (t) => {
    const total = rounds(120, 1000);
    const perSequence = 4;
    let tried = 0;
    for (let seed = 1; tried < total; seed++) {
      const random = new Random(31, seed);
      const { home, picture } = await filled(seed, 6);
      const cuts: { folder: string; allowed: string[] }[] = [];
      const states = [JSON.stringify(comparable(picture))];
      {
        using loss = await PowerLoss.record(home);
        await using vault = await Vault.open(home);
        for (let i = 6; i < 6 + perSequence; i++) {
          const work = operation(seed, i).apply(vault);
          let running = true;
          void work.finally(() => {
            running = false;
          });
          operation(seed, i).model(picture);
          const after = JSON.stringify(comparable(picture));
          const before = states.at(-1)!;
          // At some moments within the change, and one after it, when it counts as done.
          while (running) {
            await new Promise((resolve) => setImmediate(resolve));
            if (running && random.uniform() < 0.04) cuts.push(take(loss, random, [before, after]));
          }
          await work;
          states.push(after);
          cuts.push(take(loss, random, [after]));
        }
      }
      for (const { folder, allowed } of cuts) {
        await check(folder, allowed, `seed ${seed}, cut ${tried}`);
        tried++;
        rmSync(folder, { recursive: true });
      }
      rmSync(home, { recursive: true });
    }
    t.diagnostic(`campaign 3 (vault): tried ${tried}, survived ${tried}`);
  });

  it('states a failure of any file operation, loses nothing, and goes on after the cure', async (t) => {
    const ways: How[] = ['EIO', 'ENOSPC', 'EMFILE', 'EACCES', 'EROFS'];
    let tried = 0;
    for (let seed = 1; seed <= rounds(1, 6); seed++) {
      const { home, picture } = await filled(seed, 8);
      for (const [turn, how] of ways.entries()) {
        const index = 8 + turn;
        const before = JSON.stringify(comparable(picture));
        const later = structuredClone(picture);
        operation(seed, index).model(later);
        const after = JSON.stringify(comparable(later));
        for (let at = 1; ; at++) {
          const copy = newHome();
          cpSync(home, copy, { recursive: true });
          const { struck, error } = await withFault(copy, { at, how, from: turn % 2 === 1 }, async () => {
            await using vault = await Vault.open(copy);
            await operation(seed, index).apply(vault);
          });
          if (!struck) break;
          const where = `seed ${seed}, ${how} at ${at} (${struck.kind} ${struck.path.slice(copy.length)})`;
          if (error) assert.ok(error instanceof LoamError, `${where}: ${error}`);
          const state = await check(copy, error ? [before, after] : [after], where);
          if (state === 0 && before !== after && error) {
            await using vault = await Vault.open(copy);
            await operation(seed, index).apply(vault);
          }
          await check(copy, [after], `${where}, after the cure`);
          tried++;
          rmSync(copy, { recursive: true });
        }
      }
      rmSync(home, { recursive: true });
    }
    t.diagnostic(`campaign 4 (vault): tried ${tried}, survived ${tried}`);
  });
});

function take(loss: PowerLoss, random: Random, allowed: string[]) {
  const folder = newHome();
  loss.cut(folder, random);
  // After a power cut its holder is dead; here it lives.
  rmSync(join(folder, 'vault', 'lock'), { force: true });
  return { folder, allowed };
}

async function withFault(root: string, plan: { at: number; how: How; from?: boolean }, work: () => Promise<void>) {
  using faults = await FileFaults.install(root, plan);
  try {
    await work();
    return { struck: faults.struck, error: undefined };
  } catch (error) {
    return { struck: faults.struck, error };
  }
}
