import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { it } from 'node:test';
import { BlockCipher } from './blockCipher.js';

it('hides blocks, each writing of each with a keystream of its own', () => {
  const cipher = new BlockCipher();
  const plain = randomBytes(100);
  const written = [1, 2, 1, 2].map((block) => cipher.encrypt(block, plain));
  const other = new BlockCipher().encrypt(1, plain);
  const all = [plain, ...written, other];
  assert.equal(new Set(all.map((bytes) => bytes.toString('hex'))).size, all.length);
  for (const [i, block] of [2, 1].entries()) {
    const read = Buffer.from(written[3 - i]!);
    cipher.decrypt(block, read);
    assert.deepEqual(read, plain, `block ${block} as last written`);
  }
  const older = Buffer.from(written[0]!);
  cipher.decrypt(1, older);
  assert.notDeepEqual(older, plain);
});
