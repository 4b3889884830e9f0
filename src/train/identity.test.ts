import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { defaults } from '../base/options.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeCheckpoint } from './checkpoint.js';
import { slotPath } from './checkpointFile.js';
import { compare, compareIdentity, findUnfinished, type Identity, keptOf } from './identity.js';
import { recipeOptions } from './options.js';
import { packState, type QloraState } from './qlora/state.js';
import { RunFolder } from './runFolder.js';

const comparedIdentity = {
  data: { sha256: 'aa', bytes: 12 },
  model: 'bb',
  options: { rank: 8, dropout: 0, layers: { top: 4 }, modules: ['attn_q', 'attn_v'], name: null },
};

describe('compareIdentity', () => {
  it('finds nothing where nothing differs, in whatever order, undefined or absent', () => {
    const { data, model, options } = structuredClone(comparedIdentity);
    assert.deepEqual(compareIdentity({ options, model, data }, comparedIdentity), []);
    assert.deepEqual(compareIdentity({ ...comparedIdentity, budget: undefined }, comparedIdentity), []);
    assert.deepEqual(compareIdentity({}, {}), []);
  });

  it('says of each difference what was found and what was expected', () => {
    const found = {
      data: { sha256: 'cc', bytes: 12 },
      model: 'bb',
      options: { rank: 16, layers: 'all', modules: ['attn_v', 'attn_q'], name: null, seed: 1 },
    };
    assert.deepEqual(compareIdentity(found, comparedIdentity), [
      'data.sha256: found "cc", expected "aa"',
      'options.rank: found 16, expected 8',
      'options.dropout: found nothing, expected 0',
      'options.layers.top: found nothing, expected 4',
      'options.modules: found ["attn_v","attn_q"], expected ["attn_q","attn_v"]',
      'options.layers: found "all", expected nothing',
      'options.seed: found 1, expected nothing',
    ]);
  });

  it('tells 0, false, null, the empty text and an empty object apart', () => {
    const values = [0, false, null, '', '0', [], {}, { x: 0 }];
    for (const [i, a] of values.entries()) {
      for (const [j, b] of values.entries()) assert.equal(compareIdentity({ k: a }, { k: b }).length > 0, i !== j);
    }
  });

  it('keeps sentences short, and SHA-256s whole', () => {
    const [sentence] = compareIdentity({ a: 'x'.repeat(10_000), b: 1 }, { a: 'f'.repeat(64), b: 1 });
    assert.ok(sentence!.length < 200);
    assert.ok(sentence!.includes('f'.repeat(64)));
  });
});

const root = scratchFolder();
beforeEach(() => {
  process.env.LOAM_HOME = mkdtempSync(join(root, 'home-'));
});

const identity: Identity = {
  data: 'aa',
  heldout: null,
  model: 'bb',
  teacher: null,
  start: null,
  options: { ...defaults(recipeOptions), rank: 8 },
  threads: 4,
  day: null,
  version: '1.0.0',
  kernels: { ggml: '1', AVX2: '1' },
  v8: '11.3',
};

describe('a difference', () => {
  it('in what decides the last bits only is gone on with; any other is asked', () => {
    for (const change of [
      { threads: 2 },
      { day: '2026-01-01' },
      { version: '2.0.0' },
      { v8: '12.0' },
      { kernels: { ggml: '1', AVX512: '1' } },
    ]) {
      const { asks, changes } = compare({ ...identity, ...change }, { ...identity });
      assert.deepEqual([asks.length, changes.length > 0], [0, true], JSON.stringify(change));
    }
    for (const change of [
      { data: 'cc' },
      { heldout: 'cc' },
      { model: 'cc' },
      { teacher: 'cc' },
      { start: 'cc' },
      { options: { ...identity.options, rank: 4 } },
    ]) {
      const { asks, changes } = compare({ ...identity, ...change }, { ...identity });
      assert.deepEqual([asks.length, changes.length], [1, 0], JSON.stringify(change));
    }
  });

  it('of which the earlier version knew nothing counts as what it was', () => {
    const { dropout: _, ...options } = identity.options;
    const { kernels: __, v8: ___, day: ____, ...earlier } = { ...identity, options };
    const { asks, changes } = compare(identity, earlier);
    assert.deepEqual(asks, []);
    assert.ok(changes.some((text) => /kernels\.AVX2: found "1", expected nothing/.test(text)));
    assert.equal(compare({ ...identity, options: { ...identity.options, dropout: 0.5 } }, earlier).asks.length, 1);
  });

  it('that holds on to what the model knew is one against a version that knew of none', () => {
    const { replay: _, ...options } = identity.options;
    const now = (replay: number) => ({ ...identity, options: { ...options, replay } as typeof identity.options });
    assert.deepEqual(compare(now(0), { ...identity, options }).asks, []);
    assert.deepEqual(compare(now(1), { ...identity, options }).asks, ['options.replay: found 1, expected 0']);
  });

  it('in threads and day is none: a run that goes on has those that it had', () => {
    const begun = { identity: { ...identity, day: '2026-05-17' }, startedAt: '2026-05-18T00:30:00Z' };
    assert.deepEqual(keptOf(begun, { threads: undefined }), { threads: 4, day: '2026-05-17' });
    assert.deepEqual(keptOf(begun, { threads: 2 }), { threads: 2, day: '2026-05-17' });
    assert.deepEqual(keptOf(undefined, { threads: undefined }), { threads: undefined, day: undefined });
    const { day: _, ...earlier } = identity;
    assert.deepEqual(keptOf({ ...begun, identity: earlier }, { threads: undefined }), {
      threads: 4,
      day: '2026-05-18',
    });
    const broken = { threads: -1, day: '; drop' };
    assert.deepEqual(keptOf({ identity: broken }, { threads: undefined }), { threads: undefined, day: undefined });
  });
});

describe('a stopped run', () => {
  const record = { firstLayer: 0, epochs: 1, microTokens: 512 };
  const none = { a: new Float32Array(0), b: new Float32Array(0) };
  const best = { ...none, step: 0, validation: 1 };
  const state = packState({ step: 7, parameters: {}, best, finished: [] } as unknown as QloraState);
  const messages: string[] = [];
  const emit = (event: { type: string; message?: string }) => void messages.push(event.message ?? '');
  const stopped = async () => {
    messages.length = 0;
    const run = await RunFolder.open(join(root, 'out.gguf'));
    await run.start(identity);
    await writeCheckpoint(run.path, 0, { ...state.header, record }, state.arrays);
    return run;
  };
  const asked = (code: string, pattern: RegExp) => (error: unknown) =>
    error instanceof LoamError && error.code === code && pattern.test(error.message);
  const look = (folder: RunFolder, now: Identity, options: Partial<Parameters<typeof findUnfinished>[1]> = {}) =>
    findUnfinished({ emit }, { restart: false, resume: false, threads: 4, ...options }, now, folder);

  it('goes on as it is; with another processor it says so, for ever', async () => {
    await using run = await stopped();
    assert.deepEqual((await look(run, identity))!.identity, identity);
    assert.deepEqual(messages, []);
    const elsewhere = { ...identity, kernels: { ggml: '1' } };
    const gone = (await look(run, elsewhere))!.identity.changes!;
    assert.deepEqual(gone, ['not bit-identical since step 7: kernels.AVX2: found nothing, expected "1"']);
    assert.match(messages[0]!, /will not be bit-identical/);
    assert.deepEqual((await look(run, elsewhere))!.identity.changes, gone);
    assert.equal(messages.length, 1);
    assert.equal((await look(run, identity))!.identity.changes!.length, 2, 'going back is a change too');
    const pattern =
      /not everything is as it was .*\(step 7\): kernels\.AVX2.*; leave out --resume to go on all the same\.$/;
    await assert.rejects(look(run, elsewhere, { resume: true }), asked('conflict', pattern));
  });

  it('is kept where an input differs, where it is damaged, and where nobody knows what it was', async () => {
    await using run = await stopped();
    const files = () => [readFileSync(slotPath(run.path, 0)), readFileSync(join(run.path, 'run.json'))] as const;
    const [checkpoint, noted] = files();
    const refuses = async (now: Identity, pattern: RegExp) => {
      const before = files();
      await assert.rejects(look(run, now), asked('confirm', pattern));
      await assert.rejects(look(run, now, { resume: true }), asked('conflict', pattern));
      assert.deepEqual(files(), before);
      assert.equal(await look(run, now, { restart: true }), undefined);
    };
    await refuses({ ...identity, data: 'cc' }, /step 7.*data: found "cc", expected "aa"/);
    writeFileSync(slotPath(run.path, 0), checkpoint.subarray(0, -1));
    await refuses(identity, /cannot be read: checkpoint-0\.loam: a header of/);
    await writeCheckpoint(run.path, 0, { layout: 'state 99', record }, new Map());
    await refuses(identity, /another version of Loam wrote it/);
    writeFileSync(slotPath(run.path, 0), checkpoint);
    writeFileSync(join(run.path, 'run.json'), noted.subarray(0, -20));
    await refuses(identity, /run\.json: it is damaged/);
    rmSync(slotPath(run.path, 0));
    assert.equal(await look(run, identity), undefined, 'without a checkpoint there is nothing to lose');
    await assert.rejects(look(run, identity, { resume: true }), asked('not-found', /no stopped run/));
  });
});
