import assert from 'node:assert/strict';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tensorTypes } from '../ggml/tensorTypes.js';
import { LoamError } from '../util/errors.js';
import type { Gguf } from './Gguf.js';
import { openTensors, readTensorBytes } from './GgufFile.js';
import { withFolder } from './rawGguf.test.helper.js';
import { readGguf } from './readGguf.js';
import { writeGguf } from './writeGguf.js';

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

test('reads tensors whole, into given memory, in parts and in pieces', async () => {
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

test('refuses unknown names, too little room and ranges outside the tensor', async () => {
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

test('a file that changed after its header was read is noticed', async () => {
  await withTensors(async (gguf) => {
    const file = await openTensors(gguf);
    await truncate(gguf.path, gguf.tensor('b').offset + 30);
    assert.deepEqual(await file.read('a'), a);
    await assert.rejects(file.read('b'), /tensor "b": the file ends 6 bytes too early, expected the 256 bytes/);
    await file.close();
    await file.close(); // twice does no harm
    await assert.rejects(openTensors(gguf), /the file has [\d,]+ bytes, expected the 256 bytes it had/);
    await assert.rejects(readTensorBytes(gguf, 'a'), LoamError);
  });
});
