import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../util/random.js';
import { StopText } from './StopText.js';

/** By definition: generation ends with the first character that completes a stop text, and the answer before that text. */
function before(text: string, stops: readonly string[]): string {
  const some = stops.filter((stop) => stop !== '');
  for (let n = 1; n <= text.length; n++) {
    const found = some.map((stop) => text.slice(0, n).indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) return text.slice(0, Math.min(...found));
  }
  return text;
}

describe('StopText', () => {
  it('shows what stands before the first stop text, however the text is cut', () => {
    const random = new Random(1);
    const letters = (n: number) => Array.from({ length: n }, () => 'ab\n'[random.below(3)]).join('');
    for (let round = 0; round < 3000; round++) {
      const text = letters(random.below(14));
      const stops = Array.from({ length: random.below(4) }, () => letters(random.below(4)));
      const stopping = new StopText(stops);
      let shown = '';
      for (let at = 0; at < text.length && !stopping.found; ) {
        const end = at + 1 + random.below(4);
        shown += stopping.push(text.slice(at, end));
        // Nothing that was shown is ever taken back.
        assert.ok(before(text, stops).startsWith(shown));
        at = end;
      }
      shown += stopping.end();
      assert.equal(shown, before(text, stops), JSON.stringify({ text, stops }));
    }
  });

  it('without stop texts nothing is held back', () => {
    const stopping = new StopText(['']);
    assert.equal(stopping.push('now'), 'now');
  });
});
