import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  le32,
  le64,
  MemorySource,
  parse,
  type RawGguf,
  type RawTensor,
  rawGguf,
  rawKey,
  rawTensor,
  rawText,
  refusal,
} from '../../testing/rawGguf.js';
import * as limits from './rules.js';

/** Files made to mislead: each limit and each rule of the tensor table, with the words of its refusal. */

const f32 = (name: string, offset: number | bigint, ...dims: (number | bigint)[]): RawTensor => ({
  name,
  dims,
  offset,
});

async function refuses(raw: RawGguf | Uint8Array, words: RegExp): Promise<void> {
  const error = await refusal(raw instanceof Uint8Array ? raw : rawGguf(raw));
  assert.match(error.message, words);
  assert.ok(error.message.startsWith('m.gguf: ') || error.message.startsWith('m.gguf, key '), error.message);
}

/** A key, then zeros as far as the declared size: what a sparse file costs nothing to make. */
function sparse(keys: Uint8Array[], size: number, keyCount = keys.length): MemorySource {
  return new MemorySource(rawGguf({ keys, keyCount, alignment: 1 }), size);
}

const TERABYTE = 2 ** 40;

it('huge counts are refused before anything is read for them', async () => {
  for (const huge of [2n ** 60n, 2n ** 63n, 2n ** 64n - 1n]) {
    const cases: [Uint8Array, RegExp][] = [
      [rawGguf({ keyCount: huge }), /metadata keys, expected at most 4,096/],
      [rawGguf({ tensorCount: huge }), /tensors, expected at most 16,384/],
      [rawGguf({ keys: [rawKey('k', 9, le32(8), le64(huge))] }), /key "k" has .* elements, expected at most/],
      [rawGguf({ keys: [rawKey('k', 9, le32(0), le64(huge))] }), /elements, expected at most/],
      [rawGguf({ keys: [rawKey('k', 8, le64(huge))] }), /bytes long, expected at most/],
      [rawGguf({ keys: [rawKey('k', 9, le32(8), le64(1), le64(huge))] }), /element 0 of .* bytes, expected at most/],
      [rawGguf({ keys: [le64(huge)] }), /metadata key 0 is .* bytes long, expected at most 65,535/],
      [rawGguf({ tensors: [le64(huge)] }), /name of tensor 0 is .* bytes long/],
    ];
    for (const [bytes, words] of cases) {
      const source = new MemorySource(bytes, TERABYTE);
      assert.match((await refusal(source)).message, words);
      assert.ok(source.bytesRead <= 256 * 1024, `${source.bytesRead} bytes read`);
    }
  }
});

it('counts within the limits must fit the file', async () => {
  const missing = /the file ends after [\d,]+ bytes, inside .*expected at least [\d,]+ bytes \([\d,]+ missing\)/;
  await refuses({ keyCount: 4096 }, missing);
  await refuses({ tensorCount: 16_384 }, missing);
  await refuses({ keys: [rawKey('k', 9, le32(12), le64(2 ** 21))] }, missing);
  await refuses({ keys: [rawKey('k', 9, le32(8), le64(2 ** 21))] }, missing);
  await refuses({ keys: [rawKey('k', 8, le64(2 ** 26))] }, missing);
  const cut = rawGguf({ keys: [rawKey('k', 8, rawText('0123456789'))], alignment: 1 }).subarray(0, -4);
  const error = await refusal(cut);
  assert.match(error.message, /ends after 51 bytes, inside key "k", expected at least 55 bytes \(4 missing\)/);
});

it('limits hold in total as well', async () => {
  const array = (key: string, elements: number): Uint8Array =>
    rawKey(key, 9, le32(0), le64(elements), Buffer.alloc(elements));
  const half = limits.MAX_TOTAL_ARRAY_ELEMENTS / 2;
  const elements = sparse([array('a', half), array('b', half), array('c', 1)], TERABYTE);
  assert.match(
    (await refusal(elements)).message,
    /key "c" brings the elements of all arrays to 4,194,305, expected at most/,
  );

  // Two strings of the largest length pass the limit of the whole with their keys and lengths.
  const largest = Buffer.alloc(limits.MAX_STRING_BYTES, 0x20);
  const source = sparse([rawKey('a', 8, rawText(largest)), rawKey('b', 8, le64(largest.length))], TERABYTE);
  assert.match((await refusal(source)).message, /the metadata takes more than 134,217,728 bytes \(at key "b"\)/);
  assert.ok(source.bytesRead < largest.length + 2 ** 20);
});

it('the bytes kept of strings that are not UTF-8 are limited', async () => {
  const bad = rawText(Buffer.of(0xff));
  const keys = [rawKey('k', 9, le32(8), le64(300_000), Buffer.alloc(300_000 * bad.length, bad))];
  await refuses({ keys }, /key "k" brings the strings that are not UTF-8 beyond the limit, expected at most 262,144/);
});

it('long names do not make the tensor table endless', async () => {
  const entry = rawTensor(f32('n'.repeat(60_000), 0, 8));
  const source = new MemorySource(
    rawGguf({ tensors: Array.from({ length: 100 }, () => entry), tensorCount: 16_000 }),
    TERABYTE,
  );
  assert.match((await refusal(source)).message, /the tensor table takes more than 1,949,696 bytes/);
  assert.ok(source.bytesRead < 3e6);
});

it('keys: duplicate, empty, not UTF-8, with NUL, too long', async () => {
  const one = (key: string | Uint8Array): Uint8Array => rawKey(key, 0, Buffer.of(1));
  await refuses({ keys: [one('k'), one('k')] }, /key "k" is there twice/);
  await refuses({ keys: [one('')] }, /key 0, "", is empty/);
  await refuses({ keys: [one(Buffer.of(0x6b, 0xff))] }, /is not UTF-8/);
  await refuses({ keys: [one('a\0b')] }, /contains a NUL/);
  await refuses({ keys: [one('k'.repeat(limits.MAX_KEY_BYTES + 1))] }, /65,536 bytes long, expected at most 65,535/);
  await parse(rawGguf({ keys: [one('k'.repeat(limits.MAX_KEY_BYTES))] }));
});

it('values: nested arrays, unknown types, booleans other than 0 and 1', async () => {
  await refuses({ keys: [rawKey('k', 9, le32(9), le64(1), le32(0), le64(0))] }, /key "k" is an array of arrays/);
  await refuses({ keys: [rawKey('k', 13, le64(0))] }, /key "k" has value type 13, expected a type from 0 to 12/);
  await refuses({ keys: [rawKey('k', 9, le32(77), le64(0))] }, /value type 77/);
  await refuses({ keys: [rawKey('k', 7, Buffer.of(2))] }, /boolean stored as 2, expected 0 or 1/);
  await refuses({ keys: [rawKey('k', 9, le32(7), le64(2), Buffer.of(1, 255))] }, /boolean stored as 255/);
});

it('alignment: a u32 and a power of two within bounds', async () => {
  const key = (bytes: number): Uint8Array => rawKey('general.alignment', 4, le32(bytes));
  for (const bad of [0, 1, 4, 24, 33, 131_072, 0x8000_0000, 0xffff_ffff]) {
    await refuses({ keys: [key(bad)] }, /alignment of [\d,]+ bytes, expected a power of two from 8 to 65,536/);
  }
  for (const good of [8, 32, 65_536]) {
    const file = rawGguf({ keys: [key(good)], tensors: [f32('a', 0, 8)], data: 32, alignment: good });
    assert.equal((await parse(file)).tensor('a').offset, file.length - 32);
  }
  await refuses({ keys: [rawKey('general.alignment', 10, le64(32))] }, /stored as u64, expected u32/);
});

it('tensor names', async () => {
  const named = (name: string | Uint8Array): RawGguf => ({ tensors: [{ name, dims: [8], offset: 0 }], data: 32 });
  await refuses(named('n'.repeat(64)), /has a name of 64 bytes, expected at most 63/);
  await refuses(named(''), /has an empty name/);
  await refuses(named(Buffer.of(0xc0, 0x80)), /has a name that is not UTF-8/);
  await refuses(named('a\0b'), /NUL in its name/);
  assert.equal((await parse(rawGguf(named('n'.repeat(63))))).tensors.size, 1);
  await refuses({ tensors: [f32('t', 0, 8), f32('t', 32, 8)], data: 64 }, /tensor "t" is there twice/);
});

it('tensor shapes and types', async () => {
  const one = (dims: (number | bigint)[], type = 0): RawGguf => ({
    tensors: [{ name: 't', dims, type, offset: 0 }],
    data: 64,
  });
  await refuses(one([]), /has 0 dimensions, expected 1 to 4/);
  await refuses(one([1, 1, 1, 1, 1]), /has 5 dimensions, expected 1 to 4.*0 tensors after it/);
  await refuses(one([4, 0]), /dimension 1 of 0, expected at least 1/);
  await refuses(one([2n ** 63n]), /elements, expected less than 2\^53/);
  await refuses(one([2n ** 32n, 2n ** 32n]), /4,294,967,296 x 4,294,967,296 elements/);
  await refuses(one([2n ** 33n, 2n ** 31n, 2n ** 33n, 2n ** 31n]), /elements, expected less than 2\^53/); // wraps to 0 in 64 bits
  await refuses(one([2n ** 52n]), /takes [\d,]+ bytes, expected less than 2\^53/);
  await refuses(one([2n ** 50n]), /file ends after .*expected at least 4,503,599,627,/);
  await refuses(one([33], 2), /rows of 33 values, expected a multiple of 32 \(the block of q4_0\)/);
  await refuses(one([16, 2], 2), /rows of 16 values/);
  await refuses(one([32], 999), /unknown type 999/);
  await refuses(one([32], 0xffff_ffff), /unknown type 4294967295/);
  await refuses(one([32], 31), /type q4_0_4_4 \(31\), which ggml has withdrawn/);
});

it('tensor places: aligned, in the file, one after another', async () => {
  const two = (offset: number | bigint, data = 96): RawGguf => ({
    tensors: [f32('a', 0, 9), f32('b', offset, 4)],
    data,
  });
  assert.equal((await parse(rawGguf(two(64)))).tensors.size, 2);
  await refuses(two(65), /"b" has offset 65, expected a multiple of 32/);
  await refuses(two(32), /"b" has offset 32, which overlaps tensor "a"/);
  await refuses(two(0), /"b" has offset 0, which overlaps tensor "a"/);
  await refuses(two(96, 160), /"b" has offset 96, expected 64, right after/);
  await refuses(two(2n ** 64n - 32n), /"b" has offset 18,446,744,073,709,551,584, expected 64/);
  await refuses({ tensors: [f32('a', 32, 8), f32('b', 0, 8)], data: 64 }, /2 problems in the tensor table/); // swapped
  await refuses(
    { tensors: [f32('a', 0, 64), f32('b', 32, 8), f32('c', 64, 8)], data: 512 },
    /"c" has offset 64, which overlaps tensor "a"/,
  );
  await refuses(two(64, 79), /ends after [\d,]+ bytes.*\(1 missing: 1 of 2 tensors, from "b" on.*truncated/);
  await parse(rawGguf(two(64, 80)));
});

it('all problems of the table come in one error, the first ten in words', async () => {
  const tensors = Array.from({ length: 14 }, (_, i) => ({ name: `t${i}`, dims: [8], type: 99, offset: 32 * i }));
  const error = await refusal(rawGguf({ tensors, data: 32 * 14 }));
  assert.match(error.message, /14 problems in the tensor table: \(1\) tensor "t0" .*\(10\) tensor "t9" .*; and 4 more/);
  assert.doesNotMatch(error.message, /t10/);

  // A tensor of unknown size does not hide or invent problems of its neighbours.
  const mixed = [{ name: 'a', dims: [8], type: 99, offset: 0 }, f32('b', 128, 8), f32('c', 161, 8), f32('c', 224, 0)];
  const { message } = await refusal(rawGguf({ tensors: mixed, data: 256 }));
  assert.match(message, /4 problems/);
  assert.match(message, /"a" has the unknown type 99.*"c" is there twice.*dimension 0 of 0.*"c" has offset 161/);
  assert.doesNotMatch(message, /"b"/);
});

it('the number of tensors at its limit, and one beyond', async () => {
  const table = (n: number): Buffer[] => Array.from({ length: n }, (_, i) => rawTensor(f32(`t${i}`, 32 * i, 8)));
  const most = limits.MAX_TENSORS;
  assert.equal((await parse(rawGguf({ tensors: table(most), data: 32 * most }))).tensors.size, most);
  await refuses({ tensors: table(most + 1), data: 32 * (most + 1) }, /16,385 tensors, expected at most 16,384/);
});

it('strings in proportion to the file', async () => {
  const list = (count: number) => rawKey('tokens', 9, Buffer.concat([le32(8), le64(count), Buffer.alloc(8 * count)]));
  assert.equal((await parse(rawGguf({ keys: [list(limits.mostStrings(0))] }))).metadata.size, 1);
  await refuses(
    { keys: [list(limits.mostStrings(0) + 1)] },
    /strings of all arrays to 500,001, expected at most 500,000/,
  );
});

it('names from the file cannot steer the terminal', async () => {
  const name = '\u001b[2J\u202e\u009b"';
  const { message } = await refusal(rawGguf({ tensors: [f32(name, 1, 8)], data: 64 }));
  assert.doesNotMatch(message, /\p{C}/u);
  assert.match(message, /"\\u\{1b\}\[2J\\u\{202e\}\\u\{9b\}\\""/);
});

it('a file that shrinks while being read', async () => {
  const bytes = rawGguf({ keys: [rawKey('k', 8, rawText('x'.repeat(400_000)))] });
  const source = {
    size: bytes.length,
    read: (...args: Parameters<MemorySource['read']>) => new MemorySource(bytes.subarray(0, 300_000)).read(...args),
  };
  assert.match((await refusal(source)).message, /ended at 300,000 bytes while being read/);
});
