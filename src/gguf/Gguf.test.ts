import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoamError } from '../util/errors.js';
import * as build from './buildValues.js';
import { Gguf } from './Gguf.js';

const gguf = new Gguf({
  path: 'm.gguf',
  size: 0,
  version: 3,
  metadata: new Map(
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
  tensors: new Map(),
  dataOffset: 32,
  alignment: 32,
});

test('typed getters', () => {
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

test('a missing key gives the fallback, undefined too, or an error where there is none', () => {
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

test('another type is an error even with a fallback, naming key, both types and file', () => {
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
