import assert from 'node:assert/strict';
import { it } from 'node:test';
import { inWords, lostInWords } from './outcome.js';

it('says how much better in words that do not read as failure', () => {
  const said = (gain: number) => inWords({ base: 2, adapted: 2 - Math.log(gain) });
  assert.equal(said(3), 'It predicts your answers 3 times as well as before.');
  assert.equal(said(41.2), 'It predicts your answers 41 times as well as before.');
  assert.equal(said(1.3), 'It predicts your answers 30% better than before.');
  assert.match(said(1), /about as well/);
  assert.match(said(0.8), /20% worse/);
});

it('says what was lost', () => {
  const general = (adapted: number, nll: number) => ({
    questions: 100,
    nll: { base: 1, adapted: 1 + nll },
    right: { base: 65, adapted },
  });
  assert.match(lostInWords(general(66, 0)), /lost nothing .* 66 right, before 65/);
  assert.match(lostInWords(general(63, 0.1)), /nearly all/);
  assert.match(lostInWords(general(50, 0.1)), /unlearnt much/);
});
