import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { defaults } from '../base/options.js';
import { loamHome } from '../base/process.js';
import { liesInMemory, otherFolder } from '../base/spillFile.js';
import { HiddenStates, placeStores } from '../model/walker.js';
import { resolveModel } from '../models/listModels.js';
import { sayings } from '../testing/cli.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyArchitecture } from '../testing/tinyArchitectures.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { openRun } from './lab.js';
import { tuneOptions } from './options.js';
import { priceRun } from './priceRun.js';
import { ActivationCache, enteringRoom } from './qlora/activations.js';
import { replaySet } from './replaySet.js';
import { planExamples } from './ridge/examples.js';
import { requireRoom, ridgeRoom } from './room.js';
import { ridgePreset, ridgeSettings } from './settings.js';
import { foreignRoom, surveyFor } from './slices/fitSlices.js';
import { tune } from './tune.js';

const root = scratchFolder();
process.env.LOAM_HOME = join(root, 'home');
const model = await writeTinyModel(join(root, 'm.gguf'), { layers: 4 });
const data = join(root, 'd.json');
writeFileSync(data, JSON.stringify(sayings(40)));

/** Bytes that all stores of a run hold at once, at most; all of them lie in the run's folder. */
async function held(options: object): Promise<number> {
  let [now, most] = [0, 0];
  const { create } = HiddenStates;
  HiddenStates.create = async (sizes, folder) => {
    assert.ok(folder.startsWith(loamHome('runs')), folder);
    const store = await create.call(HiddenStates, sizes, folder, 0);
    const dispose = store[Symbol.asyncDispose].bind(store);
    let open = true;
    now += store.bytes;
    most = Math.max(most, now);
    store[Symbol.asyncDispose] = async () => {
      if (open) now -= store.bytes;
      open = false;
      await dispose();
    };
    return store;
  };
  try {
    const out = join(root, 'a.gguf');
    await tune(data, { ...defaults(tuneOptions), model, out, threads: 1, ...options }).result.catch(
      (error: unknown) => {
        // Whether the adapter gains anything does not matter here.
        if (!(error instanceof LoamError && error.code === 'no-gain')) throw error;
      },
    );
    assert.equal(now, 0);
    return most;
  } finally {
    HiddenStates.create = create;
  }
}

/** Bytes that the stores of ridge are said to take. */
async function quotedRidge(sweeps: number): Promise<number> {
  const options = { ...defaults(tuneOptions), model, threads: 1, scratch: root };
  const { signal } = new AbortController();
  await using run = await openRun(await resolveModel(model), { data }, options, () => {}, signal);
  const { examples } = await planExamples(run, options, ridgePreset, await replaySet(run, options));
  return ridgeRoom(run.model.hyper, examples, { sweeps }).memory;
}

describe('room for what does not fit into memory', () => {
  it('is quoted in full for ridge, and not by much more', async () => {
    for (const sweeps of [0, 2]) {
      const options = { ...defaults(tuneOptions), model, method: 'ridge', sweeps, threads: 1 } as const;
      const most = await held(options);
      const { memoryBytes, layers, modelLayers } = await priceRun(data, options);
      assert.equal(layers, Math.ceil(modelLayers / 2));
      assert.ok(most > 0 && memoryBytes > most);
      const quoted = await quotedRidge(sweeps);
      assert.ok(quoted >= most && quoted <= 2.5 * most, `sweeps ${sweeps}: ${quoted} quoted, ${most} held`);
    }
  });

  it('is quoted for a model that is read whole: what is noted of a third of its linears', async () => {
    const whole = await writeTinyArchitecture(join(root, 'whole.gguf'), 'gemma3n');
    const options = { ...defaults(tuneOptions), model: whole, method: 'ridge', threads: 1, scratch: root } as const;
    const most = await held(options);
    const { signal } = new AbortController();
    await using run = await openRun(await resolveModel(whole), { data }, options, () => {}, signal);
    const problem = await planExamples(run, options, ridgePreset, await replaySet(run, options));
    const settings = ridgeSettings(run.model.hyper.layers, options, ridgePreset);
    const survey = await surveyFor(run.model, problem, signal);
    const { memory, disk } = foreignRoom(run.model, problem, settings, survey);
    assert.deepEqual([survey.ranges, disk], [[], 0]);
    assert.equal(memory, most);
    const quote = await priceRun(data, options);
    assert.ok(quote.memoryBytes > most + run.model.gguf.size && quote.diskBytes === 0 && quote.roughSeconds > 0);
  });

  it('is quoted for training above a layer: the walk below it and the cache', async () => {
    const most = await held({ method: 'qlora', layers: { top: 1 }, epochs: 0.5, runs: 1, lr: 1e-3 });
    const lengths = [7, 9, 30];
    const sequences = lengths.map((n) => ({
      tokens: Int32Array.from({ length: n }, (_, i) => i),
      targets: Int32Array.of(1),
    }));
    const { walk, cache } = enteringRoom(sequences, { firstLayer: 1, opening: 0 }, 64);
    assert.equal(cache.memory, ActivationCache.bytes(lengths, 64));
    assert.ok(walk.memory >= 2 * cache.memory, 'f32, padded');
    assert.deepEqual(enteringRoom(sequences, { firstLayer: 0, opening: 0 }, 64).walk, { memory: 0, disk: 0 });
    assert.ok(most > 0);
  });

  it('is what the user allows, if that is less than what is free', async () => {
    const options = { ...defaults(tuneOptions), model, method: 'qlora', threads: 1 } as const;
    const { memoryBytes, cheaper } = await priceRun(data, { ...options, memory: 1 << 20 });
    assert.ok(cheaper.every((choice) => choice.memoryBytes < memoryBytes));
    // What Node takes alone is more.
    await assert.rejects(priceRun(data, { ...options, memory: 64 }), (error: unknown) => {
      assert.ok(error instanceof LoamError && error.code === 'out-of-memory');
      assert.match(error.message, /takes about .* of memory .*, and 64\.0 MB may be used; use --method ridge or/);
      return true;
    });
  });

  it('is taken in memory first, store by store', () => {
    const mib = 1 << 20;
    assert.deepEqual(placeStores([100 * mib, 100 * mib, 92 * mib]), { memory: 192 * mib, disk: 100 * mib });
    assert.deepEqual(placeStores([100 * mib], 100 * mib), { memory: 0, disk: 100 * mib });
  });

  it('that the disk lacks is told before anything is computed, with what can be done', async () => {
    await requireRoom(root, 0, 'training');
    await assert.rejects(requireRoom(root, 2 ** 60, 'training'), (error: unknown) => {
      assert.ok(error instanceof LoamError && error.code === 'disk-full');
      assert.match(error.message, /training needs .* of disk while it runs, and .* are free; free some space there/);
      return true;
    });
    assert.match(otherFolder(loamHome('runs', 'x')), /set LOAM_HOME/);
    assert.match(otherFolder(join(tmpdir(), 'x')), /set TMPDIR/);
    assert.match(otherFolder('/elsewhere'), /another --out/);
    assert.equal(await liesInMemory('/proc'), false);
    if (process.platform === 'linux') assert.equal(typeof (await liesInMemory('/dev/shm/not/there')), 'boolean');
  });
});
