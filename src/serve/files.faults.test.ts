import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { writeFileAtomic } from '../base/io.js';
import { Random } from '../base/random.js';
import { writeNpz } from '../formats/npz.js';
import { readRegister, updateRegister } from '../models/register.js';
import { FileFaults, type How, rounds } from '../testing/faults.js';
import { PowerLoss } from '../testing/powerLoss.js';
import { scratchFolder } from '../testing/scratch.js';
import { readCheckpoint, removeCheckpoints, writeCheckpoint } from '../train/checkpoint.js';
import { Corrections } from '../train/corrections.js';
import { ApiKeys } from './http/apiKeys.js';

/** All that Loam writes outside the vault, on a disk that fails at any one file operation, or whose power goes. */

const root = scratchFolder();
const newFolder = () => mkdtempSync(join(root, 'disk-'));
const ways: How[] = ['EIO', 'ENOSPC', 'EMFILE', 'EACCES', 'EROFS'];
const array = (step: number) => new Map([['a', Float32Array.of(step, 1, 2, 3)]]);
const record = (sha256: string) => ({
  path: '/m.gguf',
  bytes: 1,
  sha256,
  source: 'a test',
  added: '2026-01-01T00:00:00Z',
});

interface Work {
  /** What is there before. */
  prepare(folder: string): Promise<unknown>;
  /** The change; repeated, it leads to the same. */
  change(folder: string): Promise<unknown>;
  /** What a user would see. */
  state(folder: string): Promise<unknown>;
  /** Whether a failure may be passed over without a word: the work is only a help. */
  quiet?: true;
}

const text = (path: string) => (folder: string) => Promise.resolve(readFileSync(join(folder, path), 'utf8'));

const works: Record<string, Work> = {
  'a file of the user, written anew': {
    prepare: (folder) => writeFileAtomic(join(folder, 'report.html'), 'old'),
    change: (folder) => writeFileAtomic(join(folder, 'report.html'), 'new'.repeat(10)),
    state: text('report.html'),
  },
  'an export that is streamed': {
    prepare: (folder) =>
      writeNpz(join(folder, 'x.npz'), [{ name: 'x', dtype: 'u8', shape: [2], data: Buffer.from('ab') }]),
    change: (folder) =>
      writeNpz(join(folder, 'x.npz'), [{ name: 'y', dtype: 'u8', shape: [2], data: Buffer.from('cd') }]),
    state: (folder) => Promise.resolve(readFileSync(join(folder, 'x.npz'), 'hex')),
  },
  'a checkpoint': {
    prepare: async (folder) => {
      await writeCheckpoint(folder, 'auto', { step: 0 }, array(0));
      await writeCheckpoint(folder, 'auto', { step: 1 }, array(1));
    },
    change: async (folder) => {
      const { checkpoint } = await readCheckpoint(folder);
      if (checkpoint?.header.step !== 2) await writeCheckpoint(folder, 'auto', { step: 2 }, array(2));
    },
    state: async (folder) => {
      const { checkpoint } = await readCheckpoint(folder);
      return { header: checkpoint?.header, array: [...(checkpoint?.arrays.get('a') ?? [])] };
    },
  },
  'the end of a run': {
    prepare: (folder) => writeCheckpoint(folder, 'auto', { step: 0 }, array(0)),
    change: async (folder) => {
      await writeFileAtomic(join(folder, 'adapter'), 'adapter');
      await removeCheckpoints(folder);
    },
    // The adapter or its checkpoint: never neither.
    state: async (folder) => {
      const has = readdirSync(folder).includes('adapter');
      return has ? 'adapter' : ((await readCheckpoint(folder)).checkpoint?.header ?? 'nothing');
    },
  },
  'the list of models': {
    prepare: (folder) => updateRegister(folder, (models) => Object.assign(models, { a: record('1') })),
    change: (folder) => updateRegister(folder, (models) => Object.assign(models, { b: record('2') })),
    state: async (folder) => (await readRegister(folder)).models,
  },
  'keys of programs': {
    prepare: async (folder) => await (await ApiKeys.open(join(folder, 'keys.json'))).add({ name: 'first' }),
    change: async (folder) => {
      const keys = await ApiKeys.open(join(folder, 'keys.json'));
      if (!keys.list().some(({ name }) => name === 'second')) await keys.add({ name: 'second' });
    },
    state: async (folder) => (await ApiKeys.open(join(folder, 'keys.json'))).list().map(({ name }) => name),
  },
  'what was learnt of this device': {
    prepare: async (folder) => await (await Corrections.open(join(folder, 'device.json'), 'd')).learn('time', 1, 2),
    change: async (folder) => {
      const known = await Corrections.open(join(folder, 'device.json'), 'd');
      if (known.correctionFor('memory') === 1) await known.learn('memory', 1, 3);
    },
    state: async (folder) => {
      const known = await Corrections.open(join(folder, 'device.json'), 'd');
      return [known.correctionFor('time'), known.correctionFor('memory')];
    },
    quiet: true,
  },
};

describe('what is written outside the vault', () => {
  for (const [name, { prepare, change, state, quiet }] of Object.entries(works)) {
    it(`${name}: stays as it was, or is whole, whichever file operation fails`, async (t) => {
      const before = newFolder();
      await prepare(before);
      const old = JSON.stringify(await state(before));
      const done = newFolder();
      cpSync(before, done, { recursive: true });
      await change(done);
      const wanted = JSON.stringify(await state(done));
      assert.notEqual(old, wanted);
      let tried = 0;
      for (const how of ways) {
        for (const from of [false, true]) {
          for (let at = 1; ; at++) {
            const folder = newFolder();
            cpSync(before, folder, { recursive: true });
            let struck: unknown;
            let failure: unknown;
            {
              using faults = await FileFaults.install(folder, { at, how, from });
              await change(folder).catch((error: unknown) => {
                failure = error;
              });
              ({ struck } = faults);
            }
            if (!struck) break;
            const where = `${how} at ${at} (${JSON.stringify(struck)})`;
            if (failure) assert.ok(failure instanceof LoamError, `${where}: ${(failure as Error).stack}`);
            const found = JSON.stringify(await state(folder));
            assert.ok(failure || quiet ? [old, wanted].includes(found) : found === wanted, `${where}: ${found}`);
            await change(folder);
            assert.equal(JSON.stringify(await state(folder)), wanted, `${where}, after the cure`);
            tried++;
            rmSync(folder, { recursive: true });
          }
        }
      }
      t.diagnostic(`campaign 4 (${name}): tried ${tried}, survived ${tried}`);
    });

    it(`${name}: stays as it was, or is whole, when the power goes`, async (t) => {
      const total = rounds(30, 1000);
      const random = new Random(33);
      let tried = 0;
      while (tried < total) {
        const folder = newFolder();
        await prepare(folder);
        const old = JSON.stringify(await state(folder));
        const cuts: string[] = [];
        const cut = (loss: PowerLoss) => {
          cuts.push(newFolder());
          loss.cut(cuts.at(-1)!, random);
        };
        {
          using loss = await PowerLoss.record(folder);
          let running = true;
          const work = change(folder).finally(() => {
            running = false;
          });
          while (running) {
            await new Promise((resolve) => setImmediate(resolve));
            if (running && random.uniform() < 0.3) cut(loss);
          }
          await work;
          cut(loss);
        }
        const wanted = JSON.stringify(await state(folder));
        for (const [i, copy] of cuts.entries()) {
          const found = JSON.stringify(await state(copy));
          const allowed = i === cuts.length - 1 && !quiet ? [wanted] : [old, wanted];
          assert.ok(allowed.includes(found), `cut ${tried}: ${found}, expected ${allowed.join(' or ')}`.slice(0, 500));
          tried++;
          rmSync(copy, { recursive: true });
        }
        rmSync(folder, { recursive: true });
      }
      t.diagnostic(`campaign 3 (${name}): tried ${tried}, survived ${tried}`);
    });
  }
});
