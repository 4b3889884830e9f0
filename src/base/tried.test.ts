import assert from 'node:assert/strict';
import { it } from 'node:test';
import { leftOf, triedOf } from './tried.js';

const verdicts = (reproduced: number, likely: number, not: number, open: number) => ({
  reproduced,
  likely,
  'not found': not,
  'not probed': open,
});

it('tells not tried, partly tried, tried and found apart', () => {
  assert.equal(triedOf(undefined), 'untried');
  assert.equal(triedOf({ findings: 3, probed: 0, verdicts: verdicts(0, 0, 0, 3) }), 'untried');
  assert.equal(triedOf({ findings: 3, probed: 2, verdicts: verdicts(0, 0, 2, 1) }), 'partly');
  assert.equal(triedOf({ findings: 3, probed: 3, verdicts: verdicts(0, 0, 3, 0) }), 'clean');
  assert.equal(triedOf({ findings: 0, probed: 0, verdicts: verdicts(0, 0, 0, 0) }), 'clean');
  assert.equal(triedOf({ findings: 3, probed: 1, verdicts: verdicts(1, 0, 0, 2) }), 'found');
  assert.equal(triedOf({ findings: 3, probed: 3, verdicts: verdicts(0, 1, 2, 0) }), 'found');
});

it('counts what there was no time for, also in reports that do not say so', () => {
  assert.equal(leftOf({ verdicts: verdicts(0, 0, 1, 2), left: 1 }), 1);
  assert.equal(leftOf({ verdicts: verdicts(0, 0, 1, 2) }), 2);
});
