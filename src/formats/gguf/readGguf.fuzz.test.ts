import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { le32, le64, MemorySource, parse, rawGguf, rawKey, rawText, refusal, withFile } from '../../testing/rawGguf.js';
import type { Gguf } from './Gguf.js';
import { parseGguf, readGguf } from './readGguf.js';
import { encodeHeader } from './writeGguf.js';

/** A small valid file, changed in every place: reading it ends well or in a LoamError, never in another error or a long wait. */

const valid = rawGguf({
  keys: [
    rawKey('general.architecture', 8, rawText('llama')),
    rawKey('general.alignment', 4, le32(32)),
    rawKey('u8', 0, Buffer.of(1)),
    rawKey('f32', 6, le32(0x7f80_0001)),
    rawKey('bool', 7, Buffer.of(1)),
    rawKey('tokens', 9, le32(8), le64(3), rawText('<s>'), rawText('é'), rawText('')),
    rawKey('scores', 9, le32(6), le64(3), le32(1), le32(2), le32(0x7fa0_0000)),
    rawKey('flags', 9, le32(7), le64(2), Buffer.of(0, 1)),
    rawKey('u64', 10, le64(2n ** 63n)),
    rawKey('f64', 12, le64(0xfff8_0000_0000_0001n)),
    rawKey('split.count', 2, Buffer.of(1, 0)),
  ],
  tensors: [
    { name: 'a', dims: [3, 3], offset: 0 },
    { name: 'b', dims: [32, 2, 1], type: 2, offset: 64 },
    { name: 'c', dims: [5], type: 1, offset: 128 },
  ],
  data: 160,
});

/** Reads, and where that succeeds writes the header again: it must be the bytes that were read. */
async function tryBytes(bytes: Uint8Array): Promise<'read' | 'refused'> {
  let gguf: Gguf;
  try {
    gguf = await parse(bytes);
  } catch (error) {
    if (error instanceof LoamError) return 'refused';
    throw error;
  }
  for (const tensor of gguf.tensors.values()) assert.ok(tensor.offset + tensor.bytes <= bytes.length);
  const header = Buffer.from(encodeHeader(gguf.metadata, [...gguf.tensors.values()], 'm.gguf'));
  // From the counts (a v2 file is written as v3) to the padding, whose bytes nobody reads.
  const end = tableEnd(header);
  assert.ok(header.subarray(8, end).equals(bytes.subarray(8, end)), 'written back differently');
  return 'read';
}

/** The last byte of a header that is not padding: offsets end in zeros too, but comparing less of them is harmless. */
function tableEnd(header: Uint8Array): number {
  let end = header.length;
  while (header[end - 1] === 0) end--;
  return end;
}

it('the unchanged file is read', async () => assert.equal(await tryBytes(valid), 'read'));

/** What became of many changed files. Both must occur: a reader that takes or refuses all of them would show nothing. */
class Tally {
  private readonly outcomes = { read: 0, refused: 0 };

  async add(bytes: Uint8Array): Promise<void> {
    this.outcomes[await tryBytes(bytes)]++;
  }

  atLeast(read: number, refused: number): void {
    const { outcomes } = this;
    assert.ok(outcomes.read >= read && outcomes.refused >= refused, JSON.stringify(outcomes));
  }
}

it('each byte of the header at several values', async () => {
  const tally = new Tally();
  for (let at = 0; at < valid.length - 160; at++) {
    const byte = valid[at]!;
    for (const value of new Set([0, 1, 2, 9, 0x20, 0x7f, 0x80, 0xff, byte ^ 1, byte ^ 0x80, byte + 1, byte - 1])) {
      const changed = Buffer.from(valid);
      changed[at] = value;
      await tally.add(changed);
    }
  }
  tally.atLeast(100, 1000);
});

it('each length that cuts into header or data is refused with what is missing', async () => {
  const dataEnd = valid.length - 22; // the last tensor has 10 bytes of its 32
  for (let length = 0; length < dataEnd; length++) {
    const { message } = await refusal(valid.subarray(0, length));
    assert.match(message, length === 0 ? /empty/ : /ends after [\d,]+ bytes.*expected at least .* missing/);
  }
  for (let length = dataEnd; length <= valid.length; length++) await parse(valid.subarray(0, length));
});

it('interesting words at random places', async () => {
  const words = [
    le64(2n ** 64n - 1n),
    le64(2n ** 63n),
    le64(2n ** 60n),
    le64(2n ** 53n),
    le64(2n ** 31n),
    le64(0),
    le32(9),
  ];
  const random = new Random(7);
  const tally = new Tally();
  for (let i = 0; i < 4000; i++) {
    const changed = Buffer.from(valid);
    for (let changes = 1 + random.below(3); changes > 0; changes--) {
      words[random.below(words.length)]!.copy(changed, random.below(valid.length - 168));
    }
    await tally.add(changed);
  }
  tally.atLeast(50, 3500);
});

it('pieces removed, repeated and swapped', async () => {
  const random = new Random(8);
  const tally = new Tally();
  for (let i = 0; i < 2000; i++) {
    const [a, b, c] = [0, 0, 0].map(() => random.below(valid.length)).sort((x, y) => x - y) as [number, number, number];
    const pieces = [valid.subarray(0, a), valid.subarray(a, b), valid.subarray(b, c), valid.subarray(c)];
    const [head, first, second, tail] = pieces as [Buffer, Buffer, Buffer, Buffer];
    for (const order of [
      [head, tail],
      [head, first, first, second, tail],
      [head, second, first, tail],
    ]) {
      await tally.add(Buffer.concat(order));
    }
  }
  tally.atLeast(200, 5000);
});

it('random bytes after the magic', async () => {
  const random = new Random(9);
  const tally = new Tally();
  for (let i = 0; i < 2000; i++) {
    const bytes = Buffer.from(Uint8Array.from({ length: random.below(200) }, () => random.below(256)));
    valid.copy(bytes, 0, 0, Math.min(bytes.length, 24 - 8 * random.below(3)));
    await tally.add(bytes);
  }
  tally.atLeast(0, 2000);
});

it('a declared size without the bytes costs little', async () => {
  const sizes: number[] = [];
  for (let at = 8; at < valid.length - 160; at += 3) {
    const changed = Buffer.from(valid);
    changed.fill(0xff, at, at + 2);
    const source = new MemorySource(changed, 2 ** 45);
    try {
      await parseGguf(source, 'm.gguf');
    } catch (error) {
      assert.ok(error instanceof LoamError, String(error));
    }
    sizes.push(source.bytesRead);
  }
  // A length that still is within its limit is read, from a sparse file too; past the limits nothing is.
  assert.ok(Math.max(...sizes) < 128 * 2 ** 20, `${Math.max(...sizes)} bytes`);
});

it('files on disk behave as memory does', async () => {
  for (let length = 0; length < valid.length - 22; length += 41) {
    await withFile(valid.subarray(0, length), (path) => assert.rejects(readGguf(path), LoamError));
  }
  for (let at = 0; at < valid.length - 160; at += 17) {
    const changed = Buffer.from(valid);
    changed[at] = 0xff;
    await withFile(changed, (path) =>
      readGguf(path).catch((error: unknown) => assert.ok(error instanceof LoamError, String(error))),
    );
  }
});
