import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { Vault } from '../store/Vault.js';
import { Desk, sayings } from '../testing/cli.js';
import { rounds } from '../testing/faults.js';
import { jsonLines, type LoamRun } from '../testing/runLoam.js';

/** Runs whose process is killed: at random moments, and at every operation on files. */

const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;
const desk = new Desk();
const model = await desk.model('m.gguf', { layers: 2 });
const data = desk.file('d.json', sayings(16));
const flags = ['--model', model, '--threads', '1', '--skip-general', '--json'];
/** Each method with the event that it tells its progress by. */
const methods = {
  qlora: {
    mark: '"type":"step"',
    flags: ['--epochs', '2', '--runs', '1', '--lr', '1e-2', '--lora-plus', '1', '--patience', '99'],
  },
  ridge: { mark: '"type":"fitted"', flags: ['--layers', 'all', '--rank', '4', '--sweeps', '2', '--replay', '0'] },
};
type Method = keyof typeof methods;
const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Where one run lives. The adapter's name stands in its file, so it is the same in all. */
class Place {
  readonly folder: string;
  readonly home: string;
  readonly out: string;

  constructor(
    name: string,
    private readonly method: Method,
  ) {
    this.folder = desk.path(name);
    this.home = join(this.folder, 'home');
    this.out = join(this.folder, 'out', 'same.gguf');
    mkdirSync(this.folder);
  }

  /** One process. @param at the operation on files at which it dies */
  tune(
    more: readonly string[],
    { at, stop }: { at?: number; stop?: (stdout: string) => boolean } = {},
  ): Promise<LoamRun> {
    const faults = {
      LOAM_TEST_FAULTS: JSON.stringify({ root: this.folder, at, how: 'kill' }),
      NODE_OPTIONS: `--import ${new URL('../testing/faults.js', import.meta.url).href}`,
    };
    return desk.run(['tune', data, '--method', this.method, ...flags, ...methods[this.method].flags, ...more], {
      home: this.home,
      env: { LOAM_CHECKPOINT_SECONDS: '0', ...(at !== undefined && faults) },
      stopWhen: stop && { signal: 'SIGKILL', when: stop },
    });
  }

  /** Names of all files but the device's prices, which a run that goes on does not compare; sorted. */
  files(below = ''): string[] {
    const folder = join(this.folder, below);
    if (!existsSync(folder)) return [];
    const all = readdirSync(folder, { recursive: true, withFileTypes: true });
    return all
      .filter((entry) => entry.isFile() && entry.name !== 'device.json')
      .map(({ name }) => name)
      .sort();
  }
}

const lastStep = (run: LoamRun) =>
  Math.max(0, ...jsonLines(run).flatMap(({ type, step }) => (type === 'step' ? [step as number] : [])));
const resumedAt = (run: LoamRun) => jsonLines(run).find(({ type }) => type === 'resumed')?.step as number | undefined;
const requireDone = (run: LoamRun, what: string) => assert.equal(run.code, 0, `${what}: ${run.signal} ${run.stderr}`);

for (const method of Object.keys(methods) as Method[])
  describe(`a run of ${method} that is killed`, { skip }, () => {
    it('at random moments, and at its operations on files, ends with the same file and leaves nothing else', async (t) => {
      const alone = new Place(`${method} alone`, method);
      requireDone(await alone.tune(['--out', alone.out]), 'alone');
      const expected = sha(readFileSync(alone.out));
      const clean = alone.files();
      const random = new Random(1);
      let [tried, killed, resumed] = [0, 0, 0];

      /** Kills one run again and again, then lets it end. @param kill tells how each process dies */
      const campaign = async (name: string, kills: number, kill: () => Parameters<Place['tune']>[1]) => {
        const place = new Place(`${method} ${name}`, method);
        let before = 0;
        const follow = (run: LoamRun) => {
          const from = resumedAt(run);
          if (from !== undefined) resumed++;
          // A checkpoint after each step: the one in hand is lost at most.
          if (from !== undefined) assert.ok(from >= before - 1, `${name}: went on at step ${from}, had done ${before}`);
          before = Math.max(from ?? 0, lastStep(run));
        };
        for (let i = 0; i < kills; i++) {
          const run = await place.tune(['--out', place.out], kill());
          tried++;
          follow(run);
          if (run.signal === null) {
            requireDone(run, name);
            break;
          }
          assert.equal(run.signal, 'SIGKILL', run.stderr);
          killed++;
        }
        const last = await place.tune(['--out', place.out]);
        requireDone(last, name);
        follow(last);
        assert.equal(sha(readFileSync(place.out)), expected, `${name}: another file`);
        assert.deepEqual(place.files('out'), ['same.gguf'], `${name}: something is left beside the adapter`);
        assert.deepEqual(place.files(), clean, `${name}: something is left over`);
      };

      // A moment by the output so far: a step, or a while after one that only chance decides.
      for (let i = 0; i < rounds(1, 10); i++) {
        await campaign(`moments ${i}`, rounds(3, 20), () => {
          const [bytes, step] = [random.below(400), random.below(4)];
          return { stop: (text) => text.split(methods[method].mark).length > step && text.length % 401 >= bytes };
        });
      }
      if (rounds(0, 1)) {
        // Every one, from the first to beyond the last.
        for (let at = 1; ; at++) {
          const before = killed;
          await campaign(`operation ${at}`, 1, () => ({ at }));
          if (killed === before) break;
        }
      } else {
        await campaign('operations', 4, () => ({ at: 1 + random.below(120) }));
      }
      t.diagnostic(
        `campaign 1, ${method}: tried ${tried} kills, survived ${tried}; ${killed} struck, ${resumed} times it went on from a checkpoint`,
      );
      assert.ok(killed >= rounds(3, 200), `${killed} kills`);
      assert.ok(resumed > 0, 'none went on from a checkpoint');
    });

    it('twenty times, keeping, sealing and resuming among it, makes one version with the same bytes', async (t) => {
      const versionsOf = async (place: Place) => {
        await using vault = await Vault.open(place.home);
        const versions = vault.adapters.list().flatMap((adapter) => adapter.versions);
        return await Promise.all(versions.map(async ({ id }) => sha(await vault.adapters.read(id))));
      };
      /** Of runs: all that one which has ended may leave, if its process is killed then, is the lock of that process. */
      const leftOf = (place: Place) => place.files('home/runs').filter((name) => !name.startsWith('run.lock'));
      const keep = ['--keep', 'me'];
      const alone = new Place(`${method} kept alone`, method);
      requireDone(await alone.tune(keep), 'alone');
      const expected = await versionsOf(alone);
      assert.equal(expected.length, 1);
      const random = new Random(2);
      let [kills, struck] = [0, 0];
      for (let round = 0; round < rounds(1, 5); round++) {
        const place = new Place(`${method} kept ${round}`, method);
        for (let i = 0; i < rounds(3, 20); i++) {
          kills++;
          // Each process lives a little longer, so that kills reach from the opening of the vault to the end of keeping.
          const run = await place.tune(keep, { at: 20 + random.below(60 + 25 * i) });
          if (run.signal === null) {
            requireDone(run, 'kept');
            break;
          }
          struck++;
          if ((await versionsOf(place)).length > 0 && leftOf(place).length === 0) break;
        }
        if ((await versionsOf(place)).length === 0) requireDone(await place.tune(keep), 'kept');
        assert.deepEqual(await versionsOf(place), expected, `round ${round}`);
        assert.deepEqual(leftOf(place), [], 'nothing stays of a run that has ended well');
        const left = place.files('home').filter((name) => /partial|candidate|\.tmp$|checkpoint/.test(name));
        assert.deepEqual(left, []);
      }
      assert.ok(struck > 0);
      t.diagnostic(`campaign 2, ${method}: tried ${kills} kills, survived ${kills}; ${struck} struck`);
    });
  });
