import assert from 'node:assert/strict';
import { it } from 'node:test';
import { defaults } from '../base/options.js';
import { type TuneOptions, tuneOptions } from './options.js';
import { hasRidgeStart } from './ridgeStart.js';

it('auto begins with ridge if an option of ridge is used', () => {
  const has = (changes: Partial<TuneOptions>) => hasRidgeStart({ ...defaults(tuneOptions), ...changes });
  assert.equal(has({}), false);
  assert.equal(has({ shots: 0 }), true);
  assert.equal(has({ teacher: 'skill.gguf' }), true);
  assert.equal(has({ shots: 4, start: 'mine.gguf' }), false);
  assert.equal(has({ shots: 4, method: 'qlora' }), false);
});
