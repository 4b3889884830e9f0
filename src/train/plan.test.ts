import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fitBudget } from './plan.js';

/** 10 s for what lies below, a second for a layer and epoch. */
const price = ({ layers, epochs }: { layers: number; epochs: number }) => 10 + layers * epochs;
const free = { layers: false, epochs: false };
const wanted = { layers: 30, epochs: 4 };

describe('fitBudget', () => {
  it('keeps what fits', () => {
    assert.deepEqual(fitBudget(price, wanted, free, 130), wanted);
  });

  it('gives up passes first: as many as fit', () => {
    const { layers, epochs } = fitBudget(price, wanted, free, 100);
    assert.equal(layers, 30);
    assert.ok(Math.abs(epochs - 3) < 0.01, `${epochs}`);
  });

  it('then layers, with two passes left', () => {
    assert.deepEqual(fitBudget(price, wanted, free, 40), { layers: 15, epochs: 2 });
  });

  it('then passes again, with a quarter of the layers', () => {
    const { layers, epochs } = fitBudget(price, wanted, free, 18);
    assert.equal(layers, 8);
    assert.ok(Math.abs(epochs - 1) < 0.01, `${epochs}`);
  });

  it('leaves a chosen number of layers or epochs alone', () => {
    assert.equal(fitBudget(price, wanted, { layers: true, epochs: false }, 40).layers, 30);
    assert.equal(fitBudget(price, wanted, { layers: false, epochs: true }, 40).epochs, 4);
    assert.deepEqual(fitBudget(price, wanted, { layers: true, epochs: true }, 1), wanted);
  });

  it('property: what is chosen fits wherever anything does, and more time never means less training', () => {
    let before = 0;
    for (let seconds = 11; seconds < 140; seconds++) {
      const plan = fitBudget(price, wanted, free, seconds);
      assert.ok(price(plan) <= seconds + 1e-9, `${seconds}: ${JSON.stringify(plan)}`);
      assert.ok(plan.layers <= wanted.layers && plan.epochs <= wanted.epochs);
      // Whole layers make steps of a few per cent.
      assert.ok(price(plan) >= 0.9 * before, `${seconds}: ${price(plan)} after ${before}`);
      before = price(plan);
    }
  });

  it('a schedule of one pass is never lengthened', () => {
    const { epochs } = fitBudget(price, { layers: 30, epochs: 1 }, free, 30);
    assert.ok(epochs <= 1);
  });
});
