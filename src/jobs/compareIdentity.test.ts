import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareIdentity } from './compareIdentity.js';

const identity = {
  data: { sha256: 'aa', bytes: 12 },
  model: 'bb',
  options: { rank: 8, dropout: 0, layers: { top: 4 }, modules: ['attn_q', 'attn_v'], name: null },
};

describe('compareIdentity', () => {
  it('finds nothing where nothing differs, in whatever order, undefined or absent', () => {
    const { data, model, options } = structuredClone(identity);
    assert.deepEqual(compareIdentity({ options, model, data }, identity), []);
    assert.deepEqual(compareIdentity({ ...identity, budget: undefined }, identity), []);
    assert.deepEqual(compareIdentity({}, {}), []);
  });

  it('says of each difference what was found and what was expected', () => {
    const found = {
      data: { sha256: 'cc', bytes: 12 },
      model: 'bb',
      options: { rank: 16, layers: 'all', modules: ['attn_v', 'attn_q'], name: null, seed: 1 },
    };
    assert.deepEqual(compareIdentity(found, identity), [
      'data.sha256: found "cc", expected "aa".',
      'options.rank: found 16, expected 8.',
      'options.dropout: found nothing, expected 0.',
      'options.layers.top: found nothing, expected 4.',
      'options.modules: found ["attn_v","attn_q"], expected ["attn_q","attn_v"].',
      'options.layers: found "all", expected nothing.',
      'options.seed: found 1, expected nothing.',
    ]);
  });

  it('tells 0, false, null, the empty text and an empty object apart', () => {
    const values = [0, false, null, '', '0', [], {}, { x: 0 }];
    for (const [i, a] of values.entries()) {
      for (const [j, b] of values.entries()) assert.equal(compareIdentity({ k: a }, { k: b }).length > 0, i !== j);
    }
  });

  it('keeps sentences short, and SHA-256s whole', () => {
    const [sentence] = compareIdentity({ a: 'x'.repeat(10_000), b: 1 }, { a: 'f'.repeat(64), b: 1 });
    assert.ok(sentence!.length < 200);
    assert.ok(sentence!.includes('f'.repeat(64)));
  });
});
