import assert from 'node:assert/strict';
import { it } from 'node:test';
import { crc32, crc32Plain } from './crc32.js';

it('gives the check value of the standard, whole and in pieces, with and without zlib', () => {
  const data = Buffer.from('123456789');
  for (const sum of [crc32, crc32Plain]) {
    // 0xCBF43926: the check value of CRC-32/ISO-HDLC in every catalogue of CRCs.
    assert.equal(sum(data), 0xcbf43926);
    assert.equal(sum(data.subarray(4), sum(data.subarray(0, 4))), 0xcbf43926);
    assert.equal(sum(Buffer.alloc(0)), 0);
  }
});
