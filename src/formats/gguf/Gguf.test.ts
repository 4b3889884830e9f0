import assert from 'node:assert/strict';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { LoamError } from '../../base/errors.js';
import { tensorTypes } from '../../engine/tensorTypes.js';
import * as build from '../../testing/ggufValues.js';
import { withFolder } from '../../testing/rawGguf.js';
import { Gguf, openTensors, readTensorBytes } from './Gguf.js';
import { readGguf } from './readGguf.js';
import { writeGguf } from './writeGguf.js';

const gguf = new Gguf(
  'm.gguf',
  0,
  3,
  new Map(
    Object.entries({
      name: build.str('x'),
      n: build.u32(7),
      half: build.f32(0.5),
      big: build.u64(2n ** 63n),
      long: build.u64(12),
      yes: build.bool(true),
      ids: build.i32s([1, -2]),
      longs: build.i64s([3n]),
      bigs: build.u64s([1n, 2n ** 60n]),
      words: build.strings(['a', 'b']),
      flags: build.bools([true]),
    }),
  ),
  new Map(),
);

it('typed getters', () => {
  assert.equal(gguf.string('name'), 'x');
  assert.equal(gguf.number('n'), 7);
  assert.equal(gguf.number('half'), 0.5);
  assert.equal(gguf.number('long'), 12);
  assert.equal(gguf.boolean('yes'), true);
  assert.deepEqual(gguf.numbers('ids'), [1, -2]);
  assert.deepEqual(gguf.numbers('longs'), [3]);
  assert.deepEqual(gguf.strings('words'), ['a', 'b']);
  assert.ok(gguf.has('n') && !gguf.has('none'));
});

it('a missing key gives the fallback, undefined too, or an error where there is none', () => {
  assert.equal(gguf.string('none', 'd'), 'd');
  assert.equal(gguf.number('none', undefined), undefined);
  assert.equal(gguf.boolean('none', false), false);
  assert.deepEqual(gguf.numbers('none', []), []);
  assert.equal(gguf.strings('none', null), null);
  assert.equal(gguf.number('n', 1), 7);
  const getters = ['string', 'number', 'boolean', 'numbers', 'strings'] as const;
  for (const get of getters) {
    assert.throws(() => gguf[get]('none'), /^LoamError: m.gguf, key "none": this key is missing, expected an? /);
  }
});

it('another type is an error even with a fallback, naming key, both types and file', () => {
  const throws = (get: () => unknown, words: string): void =>
    assert.throws(get, (error: unknown) => error instanceof LoamError && error.message === words);
  throws(() => gguf.string('n', 'd'), 'm.gguf, key "n": this is a u32 (7), expected a string.');
  throws(() => gguf.boolean('n'), 'm.gguf, key "n": this is a u32 (7), expected a bool.');
  const number = 'a number of any type, up to 2^53 where whole';
  throws(() => gguf.number('name'), `m.gguf, key "name": this is a string ("x"), expected ${number}.`);
  throws(() => gguf.number('big'), `m.gguf, key "big": this is a u64 (9223372036854775808), expected ${number}.`);
  throws(() => gguf.number('yes'), `m.gguf, key "yes": this is a bool (true), expected ${number}.`);
  throws(() => gguf.number('ids'), `m.gguf, key "ids": this is an array of 2 i32, expected ${number}.`);
  const numbers = 'an array of numbers of any type, up to 2^53 where whole';
  throws(() => gguf.numbers('n'), `m.gguf, key "n": this is a u32 (7), expected ${numbers}.`);
  throws(() => gguf.numbers('bigs'), `m.gguf, key "bigs": this is an array of 2 u64, expected ${numbers}.`);
  throws(() => gguf.numbers('flags'), `m.gguf, key "flags": this is an array of 1 bool, expected ${numbers}.`);
  throws(() => gguf.strings('name'), 'm.gguf, key "name": this is a string ("x"), expected an array of strings.');
  throws(() => gguf.tensor('t'), 'm.gguf: there is no tensor "t" among its 0.');
});

const a = Uint8Array.from({ length: 40 }, (_, i) => i);
const b = Uint8Array.from({ length: 36 }, (_, i) => 200 - i);

/** Runs `use` with a file of two tensors: a, f32 [10], and b, q4_0 [32, 2]. */
async function withTensors(use: (gguf: Gguf) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const path = join(folder, 'm.gguf');
    const tensors = [
      { name: 'a', type: tensorTypes.f32, shape: [10], data: a },
      { name: 'b', type: tensorTypes.q4_0, shape: [32, 2], data: b },
    ];
    await writeGguf(path, { metadata: [], tensors });
    await use(await readGguf(path));
  });
}

it('reads tensors whole, into given memory, in parts and in pieces', async () => {
  await withTensors(async (gguf) => {
    await using file = await openTensors(gguf);
    assert.deepEqual(await Promise.all([file.read('b'), file.read('a'), file.read('b')]), [b, a, b]);
    const room = new Uint8Array(50).fill(9);
    const filled = await file.read('a', room);
    assert.equal(filled.buffer, room.buffer);
    assert.deepEqual(filled, a);
    assert.deepEqual(room.subarray(40), new Uint8Array(10).fill(9));
    assert.deepEqual(await file.readPart('b', 18, 18), b.subarray(18));
    assert.deepEqual(await file.readPart('b', 36, 0), new Uint8Array());
    const pieces: Uint8Array[] = [];
    for await (const piece of file.stream('a', 16)) pieces.push(piece);
    assert.deepEqual(
      pieces.map((piece) => piece.length),
      [16, 16, 8],
    );
    assert.deepEqual(Buffer.concat(pieces), Buffer.from(a));
    assert.deepEqual(await readTensorBytes(gguf, 'b'), b);
  });
});

it('refuses unknown names, too little room and ranges outside the tensor', async () => {
  await withTensors(async (gguf) => {
    await using file = await openTensors(gguf);
    await assert.rejects(file.read('c'), (error: unknown) => {
      assert.ok(error instanceof LoamError);
      assert.match(error.message, /no tensor "c" among its 2/);
      return true;
    });
    await assert.rejects(file.read('a', new Uint8Array(39)), RangeError);
    for (const [from, bytes] of [
      [-1, 2],
      [0, 41],
      [40, 1],
      [1.5, 2],
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ] as const) {
      await assert.rejects(file.readPart('a', from, bytes), RangeError);
    }
  });
});

it('a file that changed after its header was read is noticed', async () => {
  await withTensors(async (gguf) => {
    const file = await openTensors(gguf);
    await truncate(gguf.path, gguf.tensor('b').offset + 30);
    assert.deepEqual(await file.read('a'), a);
    await assert.rejects(file.read('b'), /the file ends inside tensor "b", expected the 256 bytes it had/);
    await file[Symbol.asyncDispose]();
    await file[Symbol.asyncDispose](); // twice does no harm
    await assert.rejects(openTensors(gguf), /the file has [\d,]+ bytes, expected the 256 bytes it had/);
    await assert.rejects(readTensorBytes(gguf, 'a'), LoamError);
  });
});
