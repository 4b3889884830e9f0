import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { it } from 'node:test';
import { hmac } from './hmac.js';

it('the page’s own HMAC is that of SHA-256, whatever the length', () => {
  for (let length = 0; length < 200; length++) {
    const [secret, text] = ['s'.repeat(length % 64), 'tä'.repeat(length)];
    assert.equal(
      Buffer.from(hmac(secret, text)).toString('hex'),
      createHmac('sha256', secret).update(text).digest('hex'),
    );
  }
});
