import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deviceSpeed } from '../engine/speed.js';
import { adviceOn, bestOf } from './advice.js';

const gb = 1e9;
const at = (available: number, billions: number) =>
  adviceOn(
    { available: available * gb, total: 2 * available * gb },
    { answering: billions * gb, reading: billions * gb },
  );

describe('which model suits a device', () => {
  it('is the largest that has the memory and answers as fast as one reads', () => {
    assert.equal(bestOf(at(0.5, 100)), undefined);
    assert.equal(bestOf(at(0.65, 100)), 'smollm2-135m');
    // 1.1 billion weights at five tokens a second.
    assert.equal(bestOf(at(0.65, 0.3)), undefined);
    const roomy = bestOf(at(16, 100))!;
    const slow = bestOf(at(16, 2))!;
    assert.ok(roomy !== slow && slow !== undefined);
    assert.equal(bestOf(adviceOn({ available: 16 * gb, total: 16 * gb }, undefined)), undefined);
  });

  it('says of each whether the memory is there, could be, or is not', () => {
    const of = (available: number) => at(available, 10).find(({ name }) => name === 'tinyllama-1.1b')!;
    // As measured: 0.91 GB.
    assert.ok(Math.abs(of(1).needsBytes - 0.91 * gb) < 0.02 * gb);
    assert.deepEqual([of(2).memory, of(1).memory, of(0.5).memory], ['enough', 'tight', 'lacking']);
    assert.ok(Math.abs(of(1).tokensPerSecond! - 10 / 1.1) < 0.2);
  });

  it('is measured in a process of its own', async () => {
    assert.equal(await deviceSpeed({ measure: false }), undefined);
    const { answering, reading } = (await deviceSpeed())!;
    assert.ok(answering > 1e6 && reading > 1e6, `${answering} ${reading}`);
  });
});
