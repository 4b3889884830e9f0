import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maySendToken } from './maySendToken.js';

test('a token goes over TLS or stays on the device', () => {
  for (const good of ['https://hub.invalid', 'http://localhost:1', 'http://127.8.0.1', 'http://[::1]:2']) {
    assert.equal(maySendToken(new URL(good)), true, good);
  }
  for (const bad of ['http://hub.invalid', 'http://10.0.0.1', 'http://127.evil.invalid', 'http://localhost.invalid']) {
    assert.equal(maySendToken(new URL(bad)), false, bad);
  }
});
