import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { scratchFolder } from '../testing/scratch.js';
import {
  arrayBytes,
  type Dtype,
  dtypeNames,
  fromFloat32,
  type NamedArrayToWrite,
  type NdArray,
  ndArray,
  toFloat32,
  toFloat64,
} from './arrays.js';
import { openNpy, readNpy, writeNpy } from './npy.js';
import { openNpz, writeNpz } from './npz.js';
import { openSafetensors, writeSafetensors } from './safetensors.js';
import { openSafetensorsFolder, writeSafetensorsFolder } from './safetensorsFolder.js';

const folder = scratchFolder();
const random = new Random(5);
const shapes = [[], [0], [1], [5], [2, 3], [4, 1, 3], [3, 0, 2]];

function randomArray(dtype: Dtype, shape: readonly number[]): NdArray {
  const data = new Uint8Array(arrayBytes({ dtype, shape })).map(() => random.below(dtype === 'bool' ? 2 : 256));
  return { dtype, shape, data };
}

/** One of each type and shape. */
const all: (NdArray & { name: string })[] = dtypeNames.flatMap((dtype) =>
  shapes.map((shape) => ({ name: `${dtype}/${shape.join('x') || 'scalar'}`, ...randomArray(dtype, shape) })),
);

const same = (got: NdArray, expected: NdArray, message?: string) => {
  assert.deepEqual([got.dtype, got.shape], [expected.dtype, expected.shape], message);
  assert.deepEqual(Buffer.from(got.data), Buffer.from(expected.data), message);
};

async function* trickle(data: Uint8Array) {
  for (let at = 0; at < data.length; at += 3) yield data.subarray(at, at + 3);
}

it('npy: each type and shape comes back the same, whole and by rows', async () => {
  const path = join(folder, 'a.npy');
  for (const array of all) {
    await writeNpy(path, array);
    same(await readNpy(path), array, array.name);
    if (array.shape.length === 0) continue;
    await using file = await openNpy(path);
    const pieces: Uint8Array[] = [];
    for await (const piece of file.rows(2)) pieces.push(piece.data);
    assert.deepEqual(Buffer.concat(pieces), Buffer.from(array.data), array.name);
  }
});

it('npz: stored, deflated and with 64-bit records, data at hand or in pieces: each array comes back the same', async () => {
  for (const options of [{}, { compress: true }, { zip64From: 0 }, { zip64From: 0, compress: true }]) {
    const path = join(folder, 'a.npz');
    async function* arrays(): AsyncGenerator<NamedArrayToWrite> {
      for (const [i, array] of all.entries()) yield i % 2 ? array : { ...array, data: () => trickle(array.data) };
    }
    await writeNpz(path, arrays(), options);
    await using file = await openNpz(path);
    assert.deepEqual(
      [...file.arrays.keys()],
      all.map(({ name }) => name),
    );
    for (const array of all) {
      same(await file.read(array.name), array, array.name);
      if (array.shape.length === 0) continue;
      const pieces: NdArray[] = [];
      for await (const piece of file.rows(array.name, 2)) pieces.push(piece);
      assert.deepEqual(Buffer.concat(pieces.map(({ data }) => data)), Buffer.from(array.data), array.name);
      const rows = array.shape[0]!;
      if (rows < 2) continue;
      const step = array.data.length / rows;
      const part = await file.readRows(array.name, 1, rows - 1);
      same(part, { dtype: array.dtype, shape: [rows - 1, ...array.shape.slice(1)], data: array.data.slice(step) });
    }
  }
});

it('npz: an array far longer than a piece streams through both ways', async () => {
  const values = new Float32Array(3_000_000).map((_, i) => Math.fround(i / 7));
  const array = ndArray(values, [30_000, 100]);
  for (const compress of [false, true]) {
    const path = join(folder, `long${compress}.npz`);
    await writeNpz(path, [{ name: 'x', ...array }], { compress });
    await using file = await openNpz(path);
    let at = 0;
    for await (const piece of file.rows('x', 7_000)) {
      assert.deepEqual(piece.data, array.data.subarray(at, at + piece.data.length));
      at += piece.data.length;
    }
    assert.equal(at, array.data.length);
    same(await file.readRows('x', 29_990, 10), { ...array, shape: [10, 100], data: array.data.slice(-4_000) });
  }
});

it('npz: the same arrays give the same bytes', async () => {
  const [a, b] = [join(folder, 'one.npz'), join(folder, 'two.npz')];
  await writeNpz(a, all, { compress: true });
  await writeNpz(b, all, { compress: true });
  assert.deepEqual(readFileSync(a), readFileSync(b));
});

it('safetensors: each type and shape comes back the same, whole, in parts and in pieces, in one file and in shards', async () => {
  const metadata = [
    ['format', 'pt'],
    ['__proto__', 'a "text"'],
  ] as const;
  const tensors = [...all, { name: '__proto__', ...randomArray('f32', [3]) }, { name: '7', ...randomArray('u8', [1]) }];
  await writeSafetensors(join(folder, 'one.safetensors'), tensors, metadata);
  const shards = join(folder, 'shards');
  const written = await writeSafetensorsFolder(shards, tensors, { shardBytes: 100, metadata });
  assert.ok(written.length > 3);
  for (const name of written.filter((n) => n.endsWith('.safetensors'))) {
    await using file = await openSafetensors(join(shards, name));
    const total = [...file.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(total <= 100);
  }
  for (const open of [openSafetensors(join(folder, 'one.safetensors')), openSafetensorsFolder(shards)]) {
    await using file = await open;
    assert.equal(file.tensors.size, tensors.length);
    assert.deepEqual([...file.metadata], metadata);
    for (const tensor of tensors) {
      same(await file.read(tensor.name), tensor, tensor.name);
      const pieces: Uint8Array[] = [];
      for await (const piece of file.stream(tensor.name, 5)) pieces.push(piece);
      assert.deepEqual(Buffer.concat(pieces), Buffer.from(tensor.data));
      if (tensor.data.length < 3) continue;
      assert.deepEqual(await file.readPart(tensor.name, 1, tensor.data.length - 2), tensor.data.slice(1, -1));
    }
    await assert.rejects(file.read('nothing'), LoamError);
    await assert.rejects(file.readPart('7', 0, 2), RangeError);
  }
  // The data begin at a multiple of 8, as the library writes it.
  const bytes = readFileSync(join(folder, 'one.safetensors'));
  assert.equal(Number(bytes.readBigUInt64LE(0)) % 8, 0);
});

it('Fortran order and big endian are read as what they mean', async () => {
  // Element [i, j, k] of the array is 100 i + 10 j + k.
  const shape = [2, 3, 4];
  const expected = Float32Array.from(
    { length: 24 },
    (_, n) => 100 * Math.floor(n / 12) + 10 * (Math.floor(n / 4) % 3) + (n % 4),
  );
  const data = Buffer.alloc(96);
  for (let k = 0, at = 0; k < 4; k++) {
    for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) data.writeFloatBE(100 * i + 10 * j + k, 4 * at++);
  }
  const text = "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3, 4), }".padEnd(117) + '\n';
  const head = Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1');
  const npy = Buffer.concat([head, Buffer.from(text, 'latin1'), data]);
  const path = join(folder, 'fortran.npy');
  writeFileSync(path, npy);
  same(await readNpy(path), ndArray(expected, shape));
  await using file = await openNpy(path);
  same(await file.readRows(1, 1), ndArray(expected.slice(12), [1, 3, 4]));
});

it('numbers: floats widen exactly, integers beyond 2^53 are refused', () => {
  const values = Float32Array.of(1.5, -0, 2 ** -14, 65504, Number.NaN, Number.POSITIVE_INFINITY);
  for (const dtype of ['f64', 'f32', 'f16'] as const)
    assert.deepEqual(toFloat32(fromFloat32(values, [6], dtype)), values);
  assert.deepEqual([...toFloat64(ndArray(BigInt64Array.of(-(2n ** 53n) + 1n)))], [-(2 ** 53) + 1]);
  assert.throws(() => toFloat64(ndArray(BigUint64Array.of(2n ** 53n))), /2\^53/);
  assert.throws(() => ndArray(values, [7]), RangeError);
  // A place in a buffer where no f32 could begin.
  const shifted = new Uint8Array(9);
  shifted.set(new Uint8Array(Float32Array.of(1.25, -3).buffer), 1);
  assert.deepEqual([...toFloat32({ dtype: 'f32', shape: [2], data: shifted.subarray(1) })], [1.25, -3]);
});

it('a writer refuses data of another length and doubled or impossible names, and leaves no file', async () => {
  const at = join(folder, 'refused');
  const array = (bytes: number) => ({ name: 'x', dtype: 'f32' as const, shape: [2], data: new Uint8Array(bytes) });
  const endless = {
    ...array(0),
    data: async function* () {
      for (;;) yield new Uint8Array(1000);
    },
  };
  for (const write of [
    (a: NamedArrayToWrite) => writeNpy(join(at, 'x.npy'), a),
    (a: NamedArrayToWrite) => writeNpz(join(at, 'x.npz'), [a]),
    (a: NamedArrayToWrite) => writeNpz(join(at, 'x.npz'), [a], { compress: true }),
    (a: NamedArrayToWrite) => writeSafetensors(join(at, 'x.safetensors'), [a]),
  ]) {
    for (const wrong of [array(7), array(9), endless]) await assert.rejects(write(wrong), /bytes of data, expected 8/);
  }
  const twice = [array(8), array(8)];
  await assert.rejects(writeNpz(join(at, 'x.npz'), twice), /twice/);
  await assert.rejects(writeSafetensors(join(at, 'x.safetensors'), twice), /twice/);
  await assert.rejects(writeSafetensorsFolder(at, twice, { shardBytes: 1 }), /twice/);
  for (const name of ['', '../x', '/x', 'a//b', 'a\\b', 'c:x', 'a\0']) {
    await assert.rejects(writeNpz(join(at, 'x.npz'), [{ ...array(8), name }]), /name/);
  }
  assert.deepEqual(readdirSync(at), []);
});

it('a reader says so when the file shrinks while it is read', async () => {
  const path = join(folder, 'shrinks.safetensors');
  await writeSafetensors(path, [{ name: 'x', ...randomArray('f32', [1000]) }]);
  await using file = await openSafetensors(path);
  writeFileSync(path, readFileSync(path).subarray(0, statSync(path).size - 100));
  await assert.rejects(file.read('x'), /ends inside tensor "x"/);
});
