import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chosen, contains, editSimilarity, equalCalls, exactMatch, jsonOf, sameJson } from './scores.js';

describe('scores of answers', () => {
  it('match exactly but for case, white space, Unicode form and the full stop', () => {
    const same = [
      ['Paris', 'paris.'],
      [' The  sum\nis 4 ', 'the sum is 4'],
      ['café', 'cafe\u0301'],
      ['STRASSE', 'Straße'],
      ['はい。', 'はい'],
    ] as const;
    for (const [a, b] of same) assert.equal(exactMatch(a, [b]), 1, a);
    const others = [
      ['Paris', 'Paris, France'],
      ['1.5', '15'],
      ['yes!', 'yes'],
      ['', 'x'],
    ] as const;
    for (const [a, b] of others) assert.equal(exactMatch(a, [b]), 0, a);
    assert.equal(exactMatch('NYC', ['New York', 'nyc']), 1);
  });

  it('contain whole words only', () => {
    assert.equal(contains('It is Paris, of course', ['paris']), 1);
    assert.equal(contains('Parisian', ['paris']), 0);
    assert.equal(contains('nothing', ['no']), 0);
    assert.equal(contains('not, no', ['no']), 1);
    assert.equal(contains('card_arrival_late', ['card_arrival']), 0);
    assert.equal(contains('答えは東京です', ['東京']), 1);
    assert.equal(contains('about 140', ['40']), 0);
    for (const part of ['1', '5', '1.5.2']) assert.equal(contains('the price is 1.5.', [part]), 0);
    assert.equal(contains('the price is 1,500 or 3.', ['3']), 1);
    assert.equal(contains('anything', ['']), 0);
  });

  it('count edits by characters, not by halves of them', () => {
    assert.equal(editSimilarity('kitten', ['sitting']), 1 - 3 / 7);
    assert.equal(editSimilarity('', ['']), 1);
    assert.equal(editSimilarity('', ['abc']), 0);
    assert.equal(editSimilarity('a😀', ['a😁']), 0.5);
    assert.equal(editSimilarity('abc', ['xyz', 'abd']), 1 - 1 / 3);
  });

  it('compare JSON by its values', () => {
    assert.equal(sameJson('{"b": [1, 2.0], "a": "x"}', ['{"a":"x","b":[1.0,2]}']), 1);
    assert.equal(sameJson('```json\n{"a": 1}\n```', ['{"a":1}']), 1);
    assert.equal(sameJson('{"a": [2, 1]}', ['{"a":[1,2]}']), 0);
    assert.equal(sameJson('{"a": "X"}', ['{"a":"x"}']), 0);
    assert.equal(sameJson('{"a": 1, "b": null}', ['{"a":1}']), 0);
    assert.equal(sameJson('{"a": "1"}', ['{"a":1}']), 0);
    assert.equal(sameJson('{"__proto__": {"a": 1}}', ['{}']), 0);
    // Beyond 2^53 numbers of JavaScript would be the same.
    assert.equal(sameJson('[12345678901234567890]', ['[12345678901234567891]']), 0);
    for (const text of ['not JSON', '{"a": 1', '"text"', '1', 'null', '{"a": 1} and more'])
      assert.equal(jsonOf(text), undefined);
  });

  it('compare calls by name and arguments', () => {
    const alarm = { name: 'set_alarm', arguments: { hour: 7, days: ['mon'] } };
    const light = { name: 'light', arguments: {} };
    assert.equal(equalCalls([alarm, light], [light, alarm]), 1);
    assert.equal(equalCalls([{ name: 'set_alarm', arguments: { days: ['mon'], hour: 7.0 } }], [alarm]), 1);
    assert.equal(equalCalls([alarm], [alarm, alarm]), 0);
    assert.equal(equalCalls([alarm, alarm], [alarm, light]), 0);
    assert.equal(equalCalls([], [alarm]), 0);
    assert.equal(equalCalls([{ ...alarm, arguments: { hour: '7', days: ['mon'] } }], [alarm]), 0);
  });

  it('find the choice that an answer names', () => {
    const yesNo = ['yes', 'no'];
    assert.equal(chosen('No. Rationale: yes would be wrong', yesNo), 1);
    assert.equal(chosen('The answer is yes.', yesNo), 0);
    assert.equal(chosen('yes or no', yesNo), 0);
    assert.equal(chosen('Either yes or no', yesNo), -1);
    assert.equal(chosen('Nothing of the kind', yesNo), -1);
    assert.equal(chosen('The answer is yes.', yesNo, false), -1);
    const intents = ['card', 'card payment', 'card payment fee'];
    assert.equal(chosen('Card payment fee charged', intents), 2);
    assert.equal(chosen('card', intents), 0);
    assert.equal(chosen('card_payment', ['card', 'card_payment']), 1);
  });
});
