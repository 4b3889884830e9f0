import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ropeFactors } from './llama.js';

it('short waves stay, long ones are slowed by the factor, between them it rises', () => {
  const scaling = {
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContext: 8192,
  };
  const factors = ropeFactors(scaling, 500_000, 64);
  assert.equal(factors.length, 32);
  for (const [i, factor] of factors.entries()) {
    const wavelength = 2 * Math.PI * 500_000 ** ((2 * i) / 64);
    if (wavelength < 8192 / 4) assert.equal(factor, 1);
    else if (wavelength > 8192) assert.equal(factor, 32);
    else {
      // Dubey et al. 2024 as Meta's code has it: the frequency is mixed of the two.
      const smooth = (8192 / wavelength - 1) / 3;
      const mixed = (1 - smooth) / 32 + smooth;
      assert.ok(Math.abs(factor * mixed - 1) < 1e-5, `${i}`);
    }
  }
  assert.ok(factors.some((factor) => factor > 1 && factor < 32));
});
