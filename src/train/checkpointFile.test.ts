import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { writeFileAtomic } from '../base/io.js';
import { scratchFolder } from '../testing/scratch.js';
import { DamagedCheckpoint, encodePreamble, HASH_BYTES, PREFIX_BYTES, readPreamble } from './checkpointFile.js';

const folder = scratchFolder();

/** Reads bytes as the beginning of a file of that size. */
async function reread(bytes: Buffer, size: number) {
  const path = join(folder, 'file');
  await writeFileAtomic(path, bytes);
  const file = await open(path);
  try {
    return (await readPreamble(file, size)).preamble;
  } finally {
    await file.close();
  }
}

/** A file's beginning with this JSON text. */
function withJson(json: string | Buffer): Buffer {
  const bytes = Buffer.from(json as string);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.write('LOAMCKPT', 'latin1');
  prefix.writeUInt32LE(1, 8);
  prefix.writeUInt32LE(bytes.length, 12);
  return Buffer.concat([prefix, bytes]);
}

describe('the preamble of a checkpoint', () => {
  it('comes back as it was, for a file of exactly the size it declares', async () => {
    const preamble = {
      sequence: 7,
      header: {
        step: 12,
        best: 0.1 + 0.2,
        text: 'grüße \u2028 "',
        nested: { list: [1, null, true] },
        ['__proto__']: 1,
      },
      arrays: [
        { name: 'blk.0.attn_q.a', length: 3 },
        { name: '', length: 0 },
        { name: '__proto__', length: 2 },
      ],
    };
    const bytes = encodePreamble(preamble);
    const size = bytes.length + 4 * 5 + HASH_BYTES;
    assert.deepEqual(await reread(bytes, size), preamble);
    for (const other of [size - 1, size + 1, size + 4]) {
      await assert.rejects(reread(bytes, other), /the file has \d+ bytes, its header tells of \d+/);
    }
  });

  it('refuses to write what JSON would change', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const preamble = { sequence: 0, header: { inner: { best: value } }, arrays: [] };
      assert.throws(() => encodePreamble(preamble), /checkpoint: best is (NaN|Infinity)/);
    }
  });

  const good = { sequence: 1, header: {}, arrays: [{ name: 'a', length: 1 }] };
  for (const [what, bytes, pattern] of [
    ['another file', Buffer.alloc(100), /does not begin as a checkpoint/],
    ['an unknown version', Buffer.from(withJson('{}')).fill(2, 8, 9), /version 2, expected 1/],
    ['a header longer than the file', Buffer.from(withJson('{}')).fill(0xff, 12, 16), /a header of 4294967295 bytes/],
    ['text that is no JSON', withJson('{"sequence": 1'), /is not JSON/],
    ['bytes that are no UTF-8', withJson(Buffer.of(0x22, 0xff, 0x22)), /is not JSON/],
    ['null', withJson('null'), /no sequence/],
    ...[-1, 0.5, '1', null, 2 ** 53 - 1, 2 ** 60].map(
      (sequence) =>
        [`sequence ${sequence}`, withJson(JSON.stringify({ ...good, sequence })), /no sequence number/] as const,
    ),
    ...[null, [], 'x'].map(
      (header) =>
        [`header ${JSON.stringify(header)}`, withJson(JSON.stringify({ ...good, header })), /lacks a part/] as const,
    ),
    ['no list', withJson(JSON.stringify({ ...good, arrays: {} })), /lacks a part/],
    ...[
      [null],
      [{ name: 1, length: 1 }],
      [{ name: 'a', length: -1 }],
      [{ name: 'a', length: 1.5 }],
      [{ name: 'a' }],
    ].map(
      (arrays) =>
        [JSON.stringify(arrays), withJson(JSON.stringify({ ...good, arrays })), /list of arrays is wrong/] as const,
    ),
    ['one name twice', withJson(JSON.stringify({ ...good, arrays: [...good.arrays, ...good.arrays] })), /one name/],
    [
      'arrays far larger than the file',
      withJson(JSON.stringify({ ...good, arrays: [{ name: 'a', length: Number.MAX_SAFE_INTEGER }] })),
      /its header tells of/,
    ],
  ] as const) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(
        reread(bytes, bytes.length + HASH_BYTES),
        (error) => error instanceof DamagedCheckpoint && pattern.test(error.message),
      );
    });
  }

  it('refuses a file that ends early', async () => {
    const bytes = encodePreamble(good);
    await assert.rejects(reread(bytes.subarray(0, 20), 4096), /the file ends after 20 bytes/);
    for (const size of [0, 5, PREFIX_BYTES + HASH_BYTES - 1]) {
      await assert.rejects(reread(bytes.subarray(0, size), size), /ends after/);
    }
  });
});
