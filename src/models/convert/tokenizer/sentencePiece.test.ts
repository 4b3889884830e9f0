import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError } from '../../../base/errors.js';
import { Random } from '../../../base/random.js';
import { readSentencePiece } from './sentencePiece.js';

/** A message of protocol buffers with one field of bytes. */
const field = (number: number, bytes: Buffer): Buffer => {
  assert.ok(bytes.length < 128);
  return Buffer.concat([Buffer.of(number * 8 + 2, bytes.length), bytes]);
};
const score = (value: number): Buffer => {
  const bytes = Buffer.alloc(5, 2 * 8 + 5);
  bytes.writeFloatLE(value, 1);
  return bytes;
};
const piece = (text: string, value: number, type?: number): Buffer =>
  field(
    1,
    Buffer.concat([field(1, Buffer.from(text)), score(value), type === undefined ? Buffer.of() : Buffer.of(24, type)]),
  );

const model = Buffer.concat([
  piece('<unk>', 0, 2),
  piece('\u2581über', -1.5),
  // Fields of other kinds: trainer_spec, a number, a fixed64.
  field(2, Buffer.from('anything')),
  Buffer.of(5 * 8, 0x96, 0x01),
  Buffer.concat([Buffer.of(6 * 8 + 1), Buffer.alloc(8)]),
  piece('<0x0A>', 0, 6),
]);

it('pieces in order, with the default type', () => {
  assert.deepEqual(readSentencePiece(model, 'x'), [
    { text: '<unk>', score: 0, type: 2 },
    { text: '\u2581über', score: -1.5, type: 1 },
    { text: '<0x0A>', score: 0, type: 6 },
  ]);
});

it('damage ends in a sentence, or in fewer or other pieces, never in another error', () => {
  const random = new Random(3);
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const damaged = Buffer.from(model.subarray(0, 1 + random.below(model.length)));
    damaged[random.below(damaged.length)] = random.below(256);
    try {
      readSentencePiece(damaged, 'x');
    } catch (error) {
      assert.ok(error instanceof LoamError);
      refused++;
    }
  }
  assert.ok(refused > 500);
});
