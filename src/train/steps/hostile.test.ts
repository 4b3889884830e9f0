import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { LoamError } from '../../base/errors.js';
import { fromFloat32, type NdArray, ndArray } from '../../formats/arrays.js';
import { readNpy, writeNpy } from '../../formats/npy.js';
import { openNpz, writeNpz } from '../../formats/npz.js';
import { Bench } from '../../testing/pipeline.js';
import { writeTinyModel } from '../../testing/tinyModel.js';
import { readFactors } from './factorsFolder.js';

/** Files of the pipeline that are damaged, hostile, or do not belong together: refused in one sentence, and nothing is written. */

const bench = new Bench();
await bench.model();
const data = bench.data(12);
await bench.embed(data, 'e.npz');
await bench.solve('e.npz', 'factors', { sweeps: 0 });

const arrays = await (async () => {
  await using file = await openNpz(bench.path('e.npz'));
  const all = new Map<string, NdArray>();
  for (const name of file.arrays.keys()) all.set(name, await file.read(name));
  return all;
})();

let files = 0;
/** The file of activations with some arrays changed; undefined leaves one out. */
async function tampered(changes: Record<string, NdArray | undefined>): Promise<string> {
  const name = `tampered-${files++}.npz`;
  const all = new Map<string, NdArray | undefined>([...arrays, ...Object.entries(changes)]);
  const list = [...all].flatMap(([key, array]) => (array ? [{ name: key, ...array }] : []));
  await writeNpz(bench.path(name), list);
  return name;
}

function headerWith(change: (header: Record<string, unknown>) => void): NdArray {
  const header = JSON.parse(new TextDecoder().decode(arrays.get('header')!.data)) as Record<string, unknown>;
  change(header);
  return ndArray(new TextEncoder().encode(JSON.stringify(header)));
}

async function assertRefused(run: Promise<unknown>, pattern: RegExp): Promise<void> {
  await assert.rejects(run, (error) => {
    assert.ok(error instanceof LoamError, `${error}`);
    assert.match(error.message, pattern);
    assert.ok(error.message.length < 900);
    return true;
  });
}

/** An index array with one element changed. */
function changed(name: string, at: number, value: number): NdArray {
  const array = arrays.get(name)!;
  const copy = array.data.slice();
  if (array.dtype === 'u8') copy[at] = value;
  else if (array.dtype === 'i64') new BigInt64Array(copy.buffer)[at] = BigInt(value);
  else new Int32Array(copy.buffer)[at] = value;
  return { ...array, data: copy };
}

describe('activations that cannot be', () => {
  const rows = arrays.get('row_sequence')!.shape[0]!;
  const cases: [string, Record<string, NdArray | undefined>, RegExp][] = [
    ['no header', { header: undefined }, /no array "header"/],
    ['a header of floats', { header: ndArray(new Float32Array(4)) }, /of another kind/],
    ['a header that is no JSON', { header: ndArray(Uint8Array.of(0xff, 0xfe)) }, /not UTF-8/],
    ['another format', { header: headerWith((h) => Object.assign(h, { format: 'x' })) }, /"format" is "x"/],
    ['a later version', { header: headerWith((h) => Object.assign(h, { version: 2 })) }, /version 2 of the format/],
    ['too many layers', { header: headerWith((h) => Object.assign(h, { layers: 1e9 })) }, /"layers" is 1000000000/],
    [
      'linears in another order',
      { header: headerWith((h) => (h.linears as unknown[]).reverse()) },
      /expected the 4 of layers 2 to 3, in order/,
    ],
    ['fewer linears', { header: headerWith((h) => (h.linears as unknown[]).pop()) }, /lists 3 linears/],
    ['shots that are no lists', { header: headerWith((h) => Object.assign(h, { shots: 3 })) }, /"shots" is 3/],
    ['an array too few', { 'blk.3.ffn_down.teacher': undefined }, /blk\.3\.ffn_down\.teacher is missing/],
    [
      'rows too few',
      { 'blk.3.ffn_down.teacher': ndArray(new Float32Array(64), [1, 64]) },
      /f32 \[1, 64\], expected f32/,
    ],
    ['another type', { 'blk.2.attn_output.inputs': ndArray(new Int32Array(rows * 64), [rows, 64]) }, /is i32/],
    ['a negative token', { tokens: changed('tokens', 0, -1) }, /token -1, expected one of/],
    ['a token beyond the vocabulary', { tokens: changed('tokens', 0, 1 << 20) }, /token 1048576/],
    ['offsets that run backwards', { offsets: changed('offsets', 1, 1 << 30) }, /has no tokens|does not span/],
    ['an unknown part', { split: changed('split', 0, 7) }, /"split" of sequence 0 is 7/],
    ['a part changed', { split: changed('split', 0, 1) }, /another order|rows, \d+ in the header|fit its header/],
    ['a prefix below none', { prefix: changed('prefix', 0, -2) }, /"prefix" of sequence 0/],
    ['a row of no sequence', { row_sequence: changed('row_sequence', 0, 999) }, /row 0 is of sequence 999/],
    ['a row of another sequence', { row_sequence: changed('row_sequence', 0, 1) }, /row of sequence|another order/],
    ['a position outside', { row_position: changed('row_position', 0, 1 << 20) }, /is of position 1048576/],
    ['a target that is not there', { row_target: changed('row_target', 0, 5000) }, /a row of sequence/],
    ['index arrays of different lengths', { prefix: ndArray(new Int32Array(3)) }, /different numbers of sequences/],
    ['an index array of floats', { prefix: ndArray(new Float32Array(12)) }, /"prefix" is f32 \[12\]/],
  ];
  for (const [name, changes, pattern] of cases) {
    it(name, async () => {
      await assertRefused(bench.solve(await tampered(changes), 'never', { sweeps: 0 }), pattern);
      assert.equal(existsSync(bench.path('never')), false);
    });
  }

  it('values that are not finite, where they are read', async () => {
    const name = 'blk.2.attn_output.teacher';
    const file = await tampered({
      [name]: fromFloat32(new Float32Array(rows * 64).fill(Number.NaN), [rows, 64], 'f32'),
    });
    await assertRefused(bench.solve(file, 'never', { sweeps: 0 }), /not finite/);
    await assertRefused(bench.solve(file, 'never', { order: 'together' }), /not finite/);
  });

  it('a field __proto__ is a field like any other', async () => {
    const text = `{"__proto__": {"kind": "step"}, ${new TextDecoder().decode(arrays.get('header')!.data).slice(1)}`;
    const file = await tampered({ header: ndArray(new TextEncoder().encode(text)) });
    await bench.solve(file, 'proto', { sweeps: 0 });
    assert.deepEqual(bench.arrays('proto'), bench.arrays('factors'));
  });

  it('another model than the one it was made with', async () => {
    const other = await writeTinyModel(bench.path('other.gguf'), { layers: 4, seed: 2 });
    await assertRefused(bench.solve('e.npz', 'never', { model: other }), /another model file/);
    await assertRefused(bench.pack('factors', 'never.gguf', { model: other }), /another model file/);
    assert.equal(existsSync(bench.path('never.gguf')), false);
  });
});

describe('steps out of order', () => {
  it('a linear whose predecessors are not solved', async () => {
    await assertRefused(
      bench.step('e.npz', 'nothing', 's.npz', 'blk.3.ffn_down'),
      /no correction of blk\.2\.attn_output/,
    );
    await assertRefused(bench.step('e.npz', 'nothing', 's.npz', 'blk.0.ffn_down'), /N from 2 to 3/);
    assert.equal(existsSync(bench.path('s.npz')), false);
  });

  it('a step that other corrections were worn for, and one that is solved already', async () => {
    await bench.step('e.npz', 'walk', 'first.npz');
    await bench.solve('first.npz', 'walk');
    await assertRefused(bench.solve('first.npz', 'walk'), /has a correction of blk\.2\.attn_output already/);
    await bench.step('e.npz', 'walk', 'second.npz');
    const before = bench.arrays('walk');
    // The first correction is changed behind the step's back.
    const path = bench.path('walk', 'blk.2.attn_output.a.npy');
    const { data: bytes, ...info } = await readNpy(path);
    const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4).map((x) => x * 1.5);
    await writeNpy(path, { ...info, ...fromFloat32(values, info.shape, 'f32') });
    await assertRefused(bench.solve('second.npz', 'walk'), /made with other corrections/);
    assert.deepEqual(Object.keys(bench.arrays('walk')), Object.keys(before));
    await assertRefused(bench.solve('second.npz', 'elsewhere'), /made with other corrections/);
    await assertRefused(bench.step('second.npz', 'walk', 'third.npz'), /one step only/);
  });

  it('a folder that holds something else', async () => {
    mkdirSync(bench.path('mine'));
    writeFileSync(bench.path('mine', 'notes.txt'), 'mine');
    await assertRefused(bench.solve('e.npz', 'mine'), /not empty/);
    await assertRefused(bench.solve('e.npz', 'mine/notes.txt'), /factors|file|folder/);
  });
});

describe('factors that cannot be', () => {
  const linear = { layer: 2, module: 'attn_output' };
  const matrix = (rows: number, columns: number, fill = 0.5) =>
    fromFloat32(new Float32Array(rows * columns).fill(fill), [rows, columns], 'f32');
  async function folderOf(linears: unknown, pairs: Record<string, NdArray> = {}): Promise<string> {
    const name = `own-${files++}`;
    mkdirSync(bench.path(name));
    for (const [file, array] of Object.entries(pairs)) await writeNpy(bench.path(name, file), array);
    writeFileSync(
      bench.path(name, 'factors.json'),
      typeof linears === 'string' ? linears : JSON.stringify({ linears }),
    );
    return name;
  }
  const good = { 'blk.2.attn_output.a.npy': matrix(3, 64), 'blk.2.attn_output.b.npy': matrix(64, 3) };
  const model = bench.path('tiny.gguf');
  const cases: [string, unknown, Record<string, NdArray>, RegExp][] = [
    ['no JSON', 'linears: []', {}, /a letter, expected a value/],
    ['no list', '{"linears": 3}', {}, /"linears" is 3/],
    ['no layer', [{ module: 'ffn_down' }], {}, /"layer" is missing/],
    ['a layer that is no number', [{ layer: '2', module: 'ffn_down' }], {}, /"layer" is "2"/],
    ['an unknown linear', [{ layer: 2, module: 'ffn_norm' }], {}, /expected one of attn_q/],
    ['no files', [linear], {}, /there is no file here/],
    [
      'a layer that the model lacks',
      [{ ...linear, layer: 9, a: 'a.npy', b: 'b.npy' }],
      { 'a.npy': matrix(1, 64), 'b.npy': matrix(64, 1) },
      /has 4 layers/,
    ],
    ['another shape', [linear], { ...good, 'blk.2.attn_output.a.npy': matrix(3, 65) }, /expected \[rank, 64\]/],
    ['two ranks', [linear], { ...good, 'blk.2.attn_output.a.npy': matrix(2, 64) }, /a has 2 rows and b 3 columns/],
    ['another rank than it says', [{ ...linear, rank: 4 }], good, /factors of rank 3/],
    [
      'a transposed factor',
      [linear],
      { ...good, 'blk.2.attn_output.b.npy': matrix(3, 64) },
      /a has 3 rows and b 64 columns/,
    ],
    ['NaN', [linear], { ...good, 'blk.2.attn_output.b.npy': matrix(64, 3, Number.NaN) }, /not finite/],
    [
      'whole numbers',
      [linear],
      { ...good, 'blk.2.attn_output.a.npy': ndArray(new Int32Array(192), [3, 64]) },
      /i32 \[3, 64\]/,
    ],
    [
      'a list instead of a matrix',
      [linear],
      { ...good, 'blk.2.attn_output.a.npy': ndArray(new Float32Array(192)) },
      /f32 \[192\]/,
    ],
    ['the same twice', [linear, linear], good, /stands there twice/],
    ['a file elsewhere', [{ ...linear, a: '../x.npy' }], good, /expected the name of a \.npy file/],
    ['an absolute path', [{ ...linear, a: '/etc/passwd' }], good, /expected the name of a \.npy file/],
    ['nothing', [], {}, /no correction of a rank above 0/],
    [
      'rank 0 only',
      [linear],
      { 'blk.2.attn_output.a.npy': matrix(0, 64), 'blk.2.attn_output.b.npy': matrix(64, 0) },
      /rank above 0/,
    ],
  ];
  for (const [name, linears, pairs, pattern] of cases) {
    it(name, async () => {
      await assertRefused(bench.pack(await folderOf(linears, pairs), 'never.gguf', { model }), pattern);
      assert.equal(existsSync(bench.path('never.gguf')), false);
      assert.equal(existsSync(bench.path('never-peft')), false);
    });
  }

  it('values beyond f32', async () => {
    const huge = ndArray(new Float64Array(192).fill(1e300), [3, 64]);
    const folder = await folderOf([linear], { ...good, 'blk.2.attn_output.a.npy': huge });
    await assertRefused(bench.pack(folder, 'never.gguf', { model }), /not finite numbers of f32/);
  });

  it('no folder, and no model named', async () => {
    await assertRefused(bench.pack('nowhere', 'never.gguf', { model }), /no factors\.json here/);
    const folder = await folderOf([linear], good);
    await assertRefused(bench.pack(folder, 'never.gguf'), /no base model is named/);
  });

  it('every problem at once', async () => {
    const two = [linear, { layer: 3, module: 'ffn_down', rank: 1 }];
    const pairs = { ...good, 'blk.3.ffn_down.a.npy': matrix(2, 96), 'blk.3.ffn_down.b.npy': matrix(64, 2) };
    const folder = await folderOf(two, { ...pairs, 'blk.2.attn_output.a.npy': matrix(3, 65) });
    await assertRefused(bench.pack(folder, 'never.gguf', { model }), /blk\.2\.attn_output.*; .*factors of rank 2/);
  });

  it('but any types and names that can be are read as they are', async () => {
    const a = new Float32Array(3 * 64).map((_, i) => (i % 7) / 8);
    const b = new Float32Array(64 * 3).map((_, i) => (i % 5) / 4);
    const entry = { ...linear, a: 'mine_A.npy', b: 'mine_B.npy' };
    for (const dtype of ['f64', 'f32', 'f16', 'bf16'] as const) {
      const pairs = { 'mine_A.npy': fromFloat32(a, [3, 64], dtype), 'mine_B.npy': fromFloat32(b, [64, 3], dtype) };
      const { linears } = await readFactors(bench.path(await folderOf([entry], pairs)));
      assert.deepEqual(linears[0]!.factors, { inputs: 64, outputs: 64, rank: 3, a, b });
    }
    const pairs = { 'mine_A.npy': fromFloat32(a, [3, 64], 'f32'), 'mine_B.npy': fromFloat32(b, [64, 3], 'f32') };
    // A linear that ridge does not correct may be packed all the same.
    const folder = await folderOf([{ ...entry, module: 'attn_q' }], pairs);
    const packed = await bench.pack(folder, 'query.gguf', { model });
    assert.deepEqual([packed.rank, packed.linears], [3, 1]);
    await assertRefused(
      bench.solve('e.npz', 'never', { with: bench.path(folder) }),
      /attn_output and ffn_down in layers 2/,
    );
  });
});
