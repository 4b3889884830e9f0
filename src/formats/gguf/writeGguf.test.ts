import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { LoamError } from '../../base/errors.js';
import { tensorTypes } from '../../engine/tensorTypes.js';
import * as build from '../../testing/ggufValues.js';
import { le32, le64, rawGguf, rawKey, rawText, withFile, withFolder } from '../../testing/rawGguf.js';
import { openTensors } from './Gguf.js';
import { readGguf } from './readGguf.js';
import { MAX_ARRAY_ELEMENTS } from './rules.js';
import type { GgufValue } from './values.js';
import { type GgufToWrite, type TensorToWrite, writeGguf } from './writeGguf.js';

const { str, u32, f32, strings } = build;
const bytesOf = (length: number, from = 0): Uint8Array => Uint8Array.from({ length }, (_, i) => (i + from) & 0xff);

const metadata: [string, GgufValue][] = [
  ['general.architecture', str('llama')],
  ['u8', build.u8(255)],
  ['i8', build.i8(-128)],
  ['u16', build.u16(65_535)],
  ['i16', build.i16(-1)],
  ['u32', u32(0xffff_ffff)],
  ['i32', build.i32(-5)],
  ['u64', build.u64(2n ** 64n - 1n)],
  ['i64', build.i64(-7)],
  ['f32', f32(0.1)],
  ['f32 nan', f32(Number.NaN)],
  ['f64', build.f64(-0)],
  ['bool', build.bool(false)],
  ['strings', strings(['', 'a', '\ufeff', '🌱'])],
  ['bools', build.bools([true, false])],
  ['u8s', build.u8s([0, 255])],
  ['i8s', build.i8s([-1])],
  ['u16s', build.u16s([1, 2, 3])],
  ['i16s', build.i16s([-3])],
  ['u32s', build.u32s([])],
  ['i32s', build.i32s([-1, 1])],
  ['f32s', build.f32s([0.1, Number.NEGATIVE_INFINITY, Number.NaN])],
  ['f64s', build.f64s([0.1, -0])],
  ['u64s', build.u64s([1n])],
  ['i64s', build.i64s([-1n, 2n ** 63n - 1n])],
];

const tensors: TensorToWrite[] = [
  { name: 'at hand', type: tensorTypes.f32, shape: [3, 3], data: bytesOf(36) },
  { name: 'promised', type: tensorTypes.q4_0, shape: [32, 2, 1], data: async () => bytesOf(36, 9) },
  {
    name: 'streamed',
    type: tensorTypes.q8_0,
    shape: [64, 2, 1, 2],
    data: async function* () {
      yield bytesOf(100);
      yield bytesOf(0);
      yield bytesOf(172, 100);
    },
  },
];

async function fails(content: Partial<GgufToWrite>, words: RegExp): Promise<void> {
  await withFolder(async (folder) => {
    const path = join(folder, 'out.gguf');
    const written = writeGguf(path, { metadata: [], tensors: [], ...content });
    await assert.rejects(written, (error: unknown) => {
      assert.ok(error instanceof LoamError, String(error));
      assert.match(error.message, words);
      assert.ok(error.message.startsWith(path));
      return true;
    });
    assert.deepEqual(await readdir(folder), [], 'something was left behind');
  });
}

it('writes the bytes that gguf.cpp writes', async () => {
  const expected = rawGguf({
    keys: [
      rawKey('general.architecture', 8, rawText('llama')),
      rawKey('n', 4, le32(7)),
      rawKey('tokens', 9, le32(8), le64(2), rawText('é'), rawText('')),
    ],
    tensors: [
      { name: 'a', dims: [3, 3], offset: 0 },
      { name: 'b', dims: [2], type: 1, offset: 64 },
    ],
    data: 96, // the last tensor is padded as well
  });
  bytesOf(36).forEach((byte, i) => {
    expected[expected.length - 96 + i] = byte;
  });
  expected.set([1, 2, 3, 4], expected.length - 32);
  await withFolder(async (folder) => {
    const path = join(folder, 'new', 'out.gguf');
    await writeGguf(path, {
      metadata: Object.entries({ 'general.architecture': str('llama'), n: u32(7), tokens: strings(['é', '']) }),
      tensors: [
        { name: 'a', type: tensorTypes.f32, shape: [3, 3], data: bytesOf(36) },
        { name: 'b', type: tensorTypes.f16, shape: [2], data: Uint8Array.of(1, 2, 3, 4) },
      ],
    });
    assert.ok(expected.equals(await readFile(path)));
  });
});

for (const alignment of [undefined, 8, 32, 4096]) {
  it(`write, read, write gives the same bytes (alignment ${alignment ?? 'not given'})`, async () => {
    await withFolder(async (folder) => {
      const [first, second] = [join(folder, '1.gguf'), join(folder, '2.gguf')];
      const stored: [string, GgufValue][] =
        alignment === undefined ? metadata : [...metadata, ['general.alignment', u32(alignment)]];
      await writeGguf(first, { metadata: stored, tensors });
      const gguf = await readGguf(first);
      assert.equal(gguf.version, 3);
      for (const { offset } of gguf.tensors.values()) assert.equal(offset % (alignment ?? 32), 0);
      assert.deepEqual([...gguf.metadata], stored);
      assert.deepEqual(
        [...gguf.tensors.values()].map(({ name, type, shape }) => ({ name, type, shape })),
        tensors.map(({ name, type, shape }) => ({ name, type, shape })),
      );
      const file = await openTensors(gguf);
      assert.deepEqual(await file.read('at hand'), bytesOf(36));
      assert.deepEqual(await file.read('promised'), bytesOf(36, 9));
      assert.deepEqual(await file.read('streamed'), bytesOf(272));
      const again = [...gguf.tensors.values()].map((tensor) => ({
        ...tensor,
        data: () => file.stream(tensor.name, 7),
      }));
      await writeGguf(second, { metadata: gguf.metadata, tensors: again });
      await file[Symbol.asyncDispose]();
      assert.ok((await readFile(first)).equals(await readFile(second)));
    });
  });
}

it('bytes that JavaScript would change survive: text that is not UTF-8, NaNs with other bits', async () => {
  const bytes = rawGguf({
    keys: [
      rawKey('text', 8, rawText(Buffer.of(0xff, 0x61))),
      rawKey('tokens', 9, le32(8), le64(2), rawText(Buffer.of(0xe2, 0x96)), rawText('\ufffd')),
      rawKey('f32', 6, le32(0xffc0_0000)),
      rawKey('signalling', 6, le32(0x7f80_0001)),
      rawKey('f64', 12, le64(0xfff8_0000_0000_0007n)),
      rawKey('f32s', 9, le32(6), le64(1), le32(0x7f80_0001)),
    ],
  });
  await withFile(bytes, async (path) => {
    const { metadata } = await readGguf(path);
    const copy = join(dirname(path), 'copy.gguf');
    await writeGguf(copy, { metadata, tensors: [] });
    assert.ok(bytes.equals(await readFile(copy)));
    // Raw bytes do not outlive the text they belong to.
    const changed = { ...metadata.get('text')!, value: 'new' } as GgufValue;
    await writeGguf(copy, { metadata: [['text', changed]], tensors: [] });
    assert.deepEqual((await readGguf(copy)).metadata.get('text'), str('new'));
  });
});

it('a file may replace the one that it is read from', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'm.gguf');
    await writeGguf(path, { metadata, tensors });
    const gguf = await readGguf(path);
    const file = await openTensors(gguf);
    const kept = [...gguf.tensors.values()]
      .slice(1)
      .map((tensor) => ({ ...tensor, data: () => file.read(tensor.name) }));
    await writeGguf(path, { metadata: gguf.metadata, tensors: kept });
    await file[Symbol.asyncDispose]();
    assert.deepEqual([...(await readGguf(path)).tensors.keys()], ['promised', 'streamed']);
    assert.deepEqual(await readdir(folder), ['m.gguf']);
  });
});

it('tensors are checked before anything is written, all problems at once', async () => {
  const { f32, q4_0 } = tensorTypes;
  const one = (name: string, shape: number[], type = f32 as TensorToWrite['type']): Partial<GgufToWrite> => ({
    tensors: [{ name, type, shape, data: () => assert.fail('data was asked for') }],
  });
  await fails(one('n'.repeat(64), [1]), /name of 64 bytes, expected at most 63/);
  await fails(one('', [1]), /empty name/);
  await fails(one('a\0', [1]), /NUL in its name/);
  await fails(one('\ud800', [1]), /half a surrogate pair/);
  await fails(one('t', []), /0 dimensions/);
  await fails(one('t', [1, 1, 1, 1, 1]), /5 dimensions/);
  await fails(one('t', [1, 0]), /dimension 1 of 0/);
  await fails(one('t', [-1]), /dimension 0 of -1/);
  await fails(one('t', [1.5]), /shape 1.5, expected whole numbers/);
  await fails(one('t', [2 ** 30, 2 ** 30]), /expected less than 2\^53/);
  await fails(one('t', [33], q4_0), /rows of 33 values, expected a multiple of 32/);
  await fails(
    { tensors: [...tensors, tensors[0]!, { ...tensors[1]!, shape: [0] }] },
    /3 problems in the tensors.*"at hand" is there twice/,
  );
});

it('data of another length is refused', async () => {
  const one = (data: TensorToWrite['data']): Partial<GgufToWrite> => ({
    tensors: [{ name: 't', type: tensorTypes.f32, shape: [4], data }],
  });
  await fails(one(bytesOf(15)), /tensor "t": 15 bytes of data, expected 16/);
  await fails(
    one(async () => bytesOf(12)),
    /only 12 bytes of data, expected 16/,
  );
  await fails(
    one(async () => bytesOf(17)),
    /at least 17 bytes of data, expected 16/,
  );
  const endless = async function* (): AsyncGenerator<Uint8Array> {
    for (;;) yield bytesOf(10);
  };
  await fails(one(endless), /at least 20 bytes of data/);
});

it('an error of the data reaches the caller and leaves nothing behind', async () => {
  await withFolder(async (folder) => {
    const failing = { ...tensors[1]!, data: () => Promise.reject(new TypeError('mine')) };
    const written = writeGguf(join(folder, 'x.gguf'), { metadata, tensors: [tensors[0]!, failing] });
    await assert.rejects(written, { name: 'TypeError', message: 'mine' });
    assert.deepEqual(await readdir(folder), []);
  });
});

it('metadata that could not be read back is refused', async () => {
  const one = (value: GgufValue, key = 'k'): Partial<GgufToWrite> => ({ metadata: [[key, value]] });
  await fails(one(build.u8(256)), /key "k": the number 256, expected one that fits u8/);
  await fails(one(build.u32(-1)), /the number -1/);
  await fails(one(build.i32(1.5)), /the number 1.5/);
  await fails(one(build.u64(2n ** 64n)), /fits u64/);
  await fails(one(build.i64(2n ** 63n)), /fits i64/);
  await fails(one({ type: 'f32', value: 1e300 }), /fits f32/);
  await fails(one(str('\udc00')), /half a surrogate pair/);
  await fails(one(strings(['ok', '\udc00'])), /half a surrogate pair/);
  await fails(
    one(build.u8s(new Uint8Array(MAX_ARRAY_ELEMENTS + 1))),
    /2,097,153 elements of an array, expected at most/,
  );
  await fails(one(u32(1), ''), /this key is empty/);
  await fails(one(u32(1), 'a\0'), /contains a NUL/);
  await fails(one(u32(1), 'k'.repeat(65_536)), /65,536 bytes of key/);
  await fails({ metadata: [...metadata, metadata[0]!] }, /"general.architecture" is there twice/);
  await fails({ metadata: Array.from({ length: 4097 }, (_, i) => [`${i}`, u32(i)] as const) }, /4,097 metadata keys/);
});

it('alignment is that of its key, a u32 and a power of two', async () => {
  await fails({ metadata: [['general.alignment', u32(12)]] }, /alignment of 12 bytes, expected a power of two/);
  await fails({ metadata: [['general.alignment', str('32')]] }, /stored as string, expected u32/);
});

it('array builders refuse what their type cannot hold', () => {
  assert.throws(() => build.u8s([0, 256]), /element 1: 256 does not fit u8/);
  assert.throws(() => build.i32s([0.5]), /0.5 does not fit i32/);
  assert.throws(() => build.u16s([Number.NaN]), /NaN does not fit u16/);
});
