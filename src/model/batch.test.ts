import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { sharedOpening } from './batch.js';

const random = new Random(6);
const opening = Int32Array.from({ length: 20 }, (_, i) => 100 + i);

/** The first `shared` tokens of the opening, then others up to `length`; targets from `first` on. */
function sequence(shared: number, length: number, first: number, other = 0) {
  const tokens = Int32Array.from({ length }, (_, i) => (i < shared ? opening[i]! : 200 + 50 * other + i));
  return { tokens, targets: Int32Array.from({ length: Math.max(0, length - first) }, (_, i) => first + i) };
}

describe('what all sequences begin with', () => {
  it('is as long as their tokens agree', () => {
    assert.equal(sharedOpening([sequence(12, 30, 20, 0), sequence(12, 28, 20, 1)]), 12);
    assert.equal(sharedOpening([sequence(15, 30, 25, 0), sequence(12, 28, 20, 1), sequence(18, 30, 25, 2)]), 12);
  });

  it('does not depend on their order', () => {
    const set = [sequence(15, 30, 25, 0), sequence(12, 28, 20, 1), sequence(18, 30, 14, 2)];
    for (let trial = 0; trial < 5; trial++) assert.equal(sharedOpening(random.shuffle(set)), 12);
  });

  it('ends before the first position that predicts a target of any of them', () => {
    // Target at 11: position 10 predicts it, so that 0..9 may be shared.
    assert.equal(sharedOpening([sequence(20, 30, 11, 0), sequence(20, 30, 25, 1)]), 10);
    assert.equal(sharedOpening([sequence(20, 30, 25, 0), sequence(20, 30, 11, 1)]), 10);
  });

  it('leaves every sequence a token, even the same ones', () => {
    const whole = { tokens: opening, targets: new Int32Array(0) };
    assert.equal(sharedOpening([whole, whole]), opening.length - 1);
    const short = { tokens: opening.slice(0, 12), targets: Int32Array.of(11) };
    assert.equal(sharedOpening([whole, short]), 10);
  });

  it('is none where they differ early, or predict early', () => {
    assert.equal(sharedOpening([sequence(0, 30, 20, 0), sequence(0, 30, 20, 1)]), 0);
    assert.equal(sharedOpening([sequence(20, 30, 20, 0), sequence(3, 30, 20, 1)]), 0);
    assert.equal(sharedOpening([sequence(20, 30, 20, 0), sequence(20, 30, 1, 1)]), 0);
  });

  it('of fewer than eight tokens is not worth a second stream', () => {
    assert.equal(sharedOpening([sequence(7, 30, 20, 0), sequence(7, 30, 20, 1)]), 0);
    assert.equal(sharedOpening([sequence(8, 30, 20, 0), sequence(8, 30, 20, 1)]), 8);
    assert.equal(sharedOpening([sequence(20, 30, 8, 0), sequence(20, 30, 8, 1)]), 0);
    assert.equal(sharedOpening([sequence(20, 30, 9, 0), sequence(20, 30, 9, 1)]), 8);
  });

  it('is none of one sequence alone, or of none', () => {
    assert.equal(sharedOpening([]), 0);
    assert.equal(sharedOpening([sequence(20, 30, 25)]), 0);
  });

  it('holds for random sequences: all agree on it and nothing of it predicts, and one more token would break that', () => {
    for (let trial = 0; trial < 200; trial++) {
      const set = Array.from({ length: 2 + random.below(4) }, (_, i) =>
        sequence(6 + random.below(15), 22 + random.below(10), 1 + random.below(21), i),
      );
      const shared = sharedOpening(set);
      const fits = (n: number) =>
        set.every(
          ({ tokens, targets }) =>
            n < tokens.length && n <= targets[0]! - 1 && tokens.subarray(0, n).every((t, i) => t === set[0]!.tokens[i]),
        );
      assert.ok(fits(shared));
      if (shared > 0) assert.ok(!fits(shared + 1));
      else assert.ok(!fits(8));
    }
  });
});
