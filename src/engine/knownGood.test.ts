import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Engine } from './engine.js';
import { multipliesRight } from './knownGood.js';
import { fastestBufferType } from './placement.js';
import { hasKernel, tensorTypes } from './tensorTypes.js';

const engine = new Engine({ threads: 1 });
after(() => engine[Symbol.dispose]());

describe('a device whose products are known', () => {
  it('multiplies every type right in every layout that it offers, or is not given it', () => {
    const { main } = engine;
    for (const type of Object.values(tensorTypes).filter(hasKernel)) {
      const layout = fastestBufferType(main, type, 512, 32);
      assert.ok(multipliesRight(main, layout, type), `${type.name} in ${layout.name}`);
      assert.ok(multipliesRight(main, main.plain, type), type.name);
    }
  });
});
