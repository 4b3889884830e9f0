import assert from 'node:assert/strict';
import { it } from 'node:test';
import { weaknessOf } from './passphrase.js';

it('tells weak passphrases from good ones', () => {
  for (const weak of ['1234', 'password', 'aaaaaaaaaaaaaaaaaaaaaaaa', 'summer 2024', 'no no no no no no']) {
    assert.ok(weaknessOf(weak), weak);
  }
  for (const good of ['', 'brown loaves under nine stars', 'x7$Kq!9vTz2#', 'correct horse battery staple']) {
    assert.equal(weaknessOf(good), undefined, good);
  }
});
