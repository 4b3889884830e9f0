import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { LoamError } from './errors.js';
import { SpillFile } from './spillFile.js';

const folder = scratchFolder();
const newFolder = () => mkdtempSync(join(folder, 'own-'));
const sizes = [100, 0, 37, 100];

/** What is on the disk: through the descriptor, as the file has no name. */
function stored(spill: SpillFile): Buffer {
  const { fd } = (spill as unknown as { file: { handle: { fd: number } } }).file.handle;
  return readFileSync(`/proc/self/fd/${fd}`);
}

it('gives every block back as it was last written, typed arrays in the middle of a buffer too', async () => {
  await using spill = await SpillFile.create(sizes, folder);
  const plain = sizes.map((size) => randomBytes(size));
  for (const block of [3, 0, 2, 1, 0]) await spill.write(block, plain[block]!);
  const newer = new Uint32Array(40).map((_, i) => i).subarray(5, 30);
  await spill.write(3, newer);
  for (const block of [0, 1, 2]) {
    const read = new Uint8Array(sizes[block]!);
    await spill.read(block, read);
    assert.deepEqual(read, new Uint8Array(plain[block]!), `block ${block}`);
  }
  const room = new Uint32Array(27);
  await spill.read(3, room.subarray(1, 26));
  assert.deepEqual([...room], [0, ...newer, 0]);
});

it('hides what it holds: nothing on the disk is alike, in no two blocks, writings or files', async (t) => {
  if (process.platform !== 'linux') return t.skip('the file is looked at through /proc');
  const plain = randomBytes(100);
  const seen = new Set([plain.toString('hex')]);
  for (let files = 0, expected = 1; files < 2; files++) {
    await using spill = await SpillFile.create(sizes, folder);
    for (let writings = 0; writings < 2; writings++) {
      await spill.write(0, plain);
      await spill.write(3, plain);
      const bytes = stored(spill);
      seen.add(bytes.toString('hex', 0, 100)).add(bytes.toString('hex', 137, 237));
      expected += 2;
      assert.equal(seen.size, expected);
    }
  }
});

it('has no name while it is open, so that a crash leaves nothing, and is gone after disposal, even done twice', async (t) => {
  const own = newFolder();
  const spill = await SpillFile.create(sizes, own);
  await spill.write(2, randomBytes(37));
  if (process.platform === 'win32') t.diagnostic('Windows cannot delete an open file');
  else assert.deepEqual(readdirSync(own), []);
  await spill[Symbol.asyncDispose]();
  await spill[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(own), []);
});

it('refuses blocks that were not written yet, and blocks of another size', async () => {
  await using spill = await SpillFile.create(sizes, folder);
  await assert.rejects(spill.read(0, new Uint8Array(100)), /block 0 .*before/);
  await spill.write(0, new Uint8Array(100));
  await assert.rejects(spill.read(2, new Uint8Array(37)), /block 2 .*before/);
  await assert.rejects(spill.read(0, new Uint8Array(99)), RangeError);
  await assert.rejects(spill.write(4, new Uint8Array(1)), RangeError);
});

it('that cannot be made is explained', async () => {
  const file = join(newFolder(), 'file');
  writeFileSync(file, '');
  await assert.rejects(SpillFile.create(sizes, join(file, 'below')), (error) => {
    return error instanceof LoamError && error.code === 'unwritable';
  });
});

it('makes the folder that it is to lie in', async () => {
  const parent = newFolder();
  await using spill = await SpillFile.create(sizes, join(parent, 'runs'));
  await spill.write(0, randomBytes(100));
  assert.deepEqual(readdirSync(parent), ['runs']);
});
