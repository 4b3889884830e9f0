import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { describe, it } from 'node:test';
import { openBase } from '../../adapters/base.js';
import { openAdapter } from '../../adapters/openAdapter.js';
import { defaults } from '../../base/options.js';
import { toFloat32, toFloat64 } from '../../formats/arrays.js';
import { f32 } from '../../formats/gguf/values.js';
import { openNpz } from '../../formats/npz.js';
import { Bench, threads } from '../../testing/pipeline.js';
import { tuneOptions } from '../options.js';
import { tune } from '../tune.js';
import { readFactors } from './factorsFolder.js';
import { openActivations } from './openActivations.js';

/** The steps of the pipeline against `tune`, and against one another. */

const bench = new Bench();
const model = await bench.model();
const data = bench.data(32);
const embedded = await bench.embed(data, 'e.npz');
await bench.solve('e.npz', 'plain', { sweeps: 0 });
const plain = bench.arrays('plain');

const tuned = async (out: string, options: Partial<Parameters<typeof tune>[1]> = {}) => {
  const settings = {
    ...defaults(tuneOptions),
    method: 'ridge' as const,
    replay: 0,
    threads,
    model,
    out: bench.path(out),
    ...options,
  };
  await bench.end(tune(data, settings));
  return await bench.tensors(out);
};

describe('the three steps', () => {
  it('give the tensors of tune, bit for bit, by default, sweeps included', async () => {
    const expected = await tuned('tuned.gguf');
    const solved = await bench.solve('e.npz', 'swept');
    assert.ok(solved.sweeps > 0, 'sweeps that lower the NLL');
    await bench.pack('swept', 'packed.gguf');
    assert.deepEqual(await bench.tensors('packed.gguf'), expected);
    // And the sweeps are no formality.
    assert.notDeepEqual(bench.arrays('swept'), plain);
    const { linears } = await readFactors(bench.path('swept'));
    // The top fifth of four layers is the last.
    for (const { layer, swept } of linears) assert.equal(swept, layer === 3 ? true : undefined);
  });

  it('give them with other settings, a teacher with a skill adapter and held-out examples too', async () => {
    const skill = bench.path('packed.gguf');
    const heldout = bench.data(3, 'heldout.json');
    const shared = { shots: 3, layers: 'all', seed: 7, heldout, teacher: skill } as const;
    const expected = await tuned('other.gguf', { ...shared, rank: 5, lambda: 0.2, sweeps: 1, alpha: 3 });
    await bench.embed(data, 'other.npz', { ...shared, teacherOnly: true });
    await bench.solve('other.npz', 'other', { rank: 5, lambda: 0.2, sweeps: 1 });
    await bench.pack('other', 'other-packed.gguf', { alpha: 3 });
    assert.deepEqual(await bench.tensors('other-packed.gguf'), expected);
    const { recipe, modules } = await openAdapter(bench.path('other-packed.gguf'), await openBase(model));
    assert.deepEqual([...new Set(modules.map(({ alpha }) => alpha))], [3]);
    const { shots, seed, rank, lambda } = recipe!;
    assert.deepEqual({ shots, seed, rank, lambda }, { shots: 3, seed: 7, rank: 5, lambda: 0.2 });
  });

  it('give the same factors linear by linear, each embedded with the corrections before it', async () => {
    for (const { layer, module } of embedded.linears) {
      const step = await bench.step('e.npz', 'steps', 'step.npz');
      assert.deepEqual(step.linears, [{ layer, module }]);
      await bench.solve('step.npz', 'steps');
    }
    assert.deepEqual(bench.arrays('steps'), plain);
    const last = await bench.step('e.npz', 'steps', 'last.npz');
    assert.equal(last.activations, null);
    assert.equal(existsSync(bench.path('last.npz')), false);
  });

  it('go on from corrections that are given, and leave these as they are', async () => {
    const map = JSON.parse(readFileSync(bench.path('plain', 'factors.json'), 'utf8'));
    const part = bench.part('plain', 'part', map.linears.slice(0, 2));
    await bench.solve('e.npz', 'rest', { sweeps: 0, with: part });
    assert.deepEqual(bench.arrays('rest'), plain);
  });

  it('give other factors where all are solved together, but for the first', async () => {
    await bench.solve('e.npz', 'together', { order: 'together' });
    const together = bench.arrays('together');
    for (const name of Object.keys(plain)) {
      const first = name.startsWith('blk.2.attn_output.');
      assert.equal(together[name] === plain[name], first, name);
    }
  });
});

for (const [name, options] of [
  ['norms', { family: 'gemma3' }],
  ['factors', { family: 'granite', metadata: { 'granite.residual_scale': f32(0.4), 'granite.logit_scale': f32(0.5) } }],
] as const) {
  it(`a family with ${name} behind its linears gives the same tensors too, layer by layer and linear by linear`, async () => {
    const other = new Bench();
    const model = await other.model(2, options);
    const examples = other.data(16);
    const settings = { ...defaults(tuneOptions), method: 'ridge' as const, replay: 0, threads, model };
    const shared = { shots: 2, layers: { top: 2 } };
    await other.end(tune(examples, { ...settings, ...shared, sweeps: 2, out: other.path('tuned.gguf') }));
    await other.embed(examples, 'e.npz', shared);
    await other.solve('e.npz', 'swept', { sweeps: 2 });
    await other.pack('swept', 'packed.gguf');
    assert.deepEqual(await other.tensors('packed.gguf'), await other.tensors('tuned.gguf'));
    await other.solve('e.npz', 'plain', { sweeps: 0 });
    for (let i = 0; i < 4; i++) {
      await other.step('e.npz', 'steps', 'step.npz');
      await other.solve('step.npz', 'steps');
    }
    assert.deepEqual(other.arrays('steps'), other.arrays('plain'));
  });
}

describe('a file of activations', () => {
  it('tells of each row which example, position and token it is', async () => {
    await using file = await openNpz(bench.path('e.npz'));
    const read = async (name: string) => [...toFloat64(await file.read(name))];
    const [tokens, offsets] = [await read('tokens'), await read('offsets')];
    const [sequence, position, target] = [
      await read('row_sequence'),
      await read('row_position'),
      await read('row_target'),
    ];
    assert.equal(sequence.length, embedded.rows.train + embedded.rows.validation);
    sequence.forEach((s, row) => {
      assert.equal(tokens[offsets[s]! + position[row]! + 1], target[row]);
    });
    const [example, split] = [await read('example'), await read('split')];
    assert.deepEqual(
      [...example].sort((a, b) => a - b),
      Array.from({ length: 32 }, (_, i) => i),
    );
    assert.equal(split.filter((part) => part === 1).length, 4);
    const prefix = await read('prefix');
    await using activations = await openActivations(bench.path('e.npz'));
    // No example is a shot for itself.
    example.forEach((record, i) => {
      assert.ok(!activations.header.shots[prefix[i]!]!.includes(record));
    });
  });

  it('has no target where the teacher reads what the student reads', async () => {
    await bench.embed(data, 'alone.npz', { shots: 0 });
    await using file = await openNpz(bench.path('alone.npz'));
    let largest = 0;
    for (const { layer, module } of embedded.linears) {
      const of = async (kind: string) => toFloat32(await file.read(`blk.${layer}.${module}.${kind}`));
      const [teacher, student] = [await of('teacher'), await of('student')];
      assert.ok(teacher.some((x) => x !== 0));
      teacher.forEach((x, i) => {
        largest = Math.max(largest, Math.abs(x - student[i]!));
      });
    }
    assert.ok(largest < 1e-3, `${largest}`);
  });

  it('has the size that was told, a fraction of it without the student, and half of it in f16', async () => {
    const size = bench.events.find((event) => event.type === 'size')!;
    const actual = (name: string) => statSync(bench.path(name)).size;
    // Index arrays and headers beside it.
    assert.ok(actual('e.npz') > size.bytes && actual('e.npz') < size.bytes + 50_000);
    await bench.embed(data, 'half.npz', { f16: true });
    assert.ok(actual('half.npz') > size.bytes / 2 && actual('half.npz') < size.bytes / 2 + 50_000);
    await bench.embed(data, 'teacher.npz', { teacherOnly: true });
    await bench.solve('teacher.npz', 'from-teacher', { sweeps: 0 });
    assert.deepEqual(bench.arrays('from-teacher'), plain);
    // Half precision changes factors a little, and what they explain hardly.
    await bench.solve('half.npz', 'from-half', { sweeps: 0 });
    assert.notDeepEqual(bench.arrays('from-half'), plain);
    const [one, other] = [await readFactors(bench.path('plain')), await readFactors(bench.path('from-half'))];
    one.linears.forEach(({ explained }, i) => {
      const difference = Math.abs(explained!.validation! - other.linears[i]!.explained!.validation!);
      assert.ok(difference < 0.02, `${difference}`);
    });
  });
});
