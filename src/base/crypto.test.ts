import assert from 'node:assert/strict';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { applyStream, deriveKey, newIv, seal, unseal } from './crypto.js';

const key = randomBytes(32);

describe('seal', () => {
  it('opens with its key for its purpose, and differs each time', () => {
    for (const size of [0, 1, 1000]) {
      const plain = randomBytes(size);
      const sealed = seal(key, 'here', plain);
      assert.deepEqual(unseal(key, 'here', sealed), plain);
      assert.notDeepEqual(sealed, seal(key, 'here', plain));
      assert.equal(unseal(key, 'there', sealed), undefined);
      assert.equal(unseal(randomBytes(32), 'here', sealed), undefined);
    }
  });

  it('opens with no bit changed, and with none missing', () => {
    const sealed = seal(key, 'here', Buffer.from('text'));
    for (let bit = 0; bit < 8 * sealed.length; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(unseal(key, 'here', changed), undefined, `bit ${bit}`);
    }
    for (let length = 0; length < sealed.length; length++) {
      assert.equal(unseal(key, 'here', sealed.subarray(0, length)), undefined, `${length} bytes`);
    }
  });

  it('derives another key for each purpose', () => {
    const keys = [deriveKey(key, 'a'), deriveKey(key, 'b'), deriveKey(randomBytes(32), 'a'), key];
    assert.equal(new Set(keys.map((k) => k.toString('hex'))).size, 4);
    assert.deepEqual(deriveKey(key, 'a'), keys[0]);
  });
});

describe('applyStream', () => {
  it('is AES-256-CTR of the whole, whatever the pieces, also where the counter overflows', () => {
    const plain = randomBytes(1000);
    for (const iv of [newIv(), Buffer.alloc(16, 0xff)]) {
      const whole = applyStream(key, iv, 0, plain);
      const cipher = createDecipheriv('aes-256-ctr', key, iv);
      assert.deepEqual(Buffer.concat([cipher.update(whole), cipher.final()]), plain);
      for (const [from, to] of [
        [0, 16],
        [1, 2],
        [15, 17],
        [16, 500],
        [333, 1000],
      ] as const) {
        assert.deepEqual(applyStream(key, iv, from, plain.subarray(from, to)), whole.subarray(from, to));
      }
    }
  });
});
