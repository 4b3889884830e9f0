import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../util/random.js';
import { planEpoch } from './batches.js';

const random = new Random(4);
const mixed = (count: number, from: number, to: number) =>
  Array.from({ length: count }, () => from + random.below(to - from + 1));

const cases = {
  'many short ones': { lengths: mixed(203, 5, 40), batch: 4, tokens: 512 },
  'some longer than what is computed at once': { lengths: mixed(60, 20, 300), batch: 8, tokens: 128 },
  'each alone': { lengths: mixed(17, 5, 40), batch: 1, tokens: 512 },
  'fewer than a step takes': { lengths: mixed(3, 5, 40), batch: 16, tokens: 512 },
  one: { lengths: [9], batch: 4, tokens: 512 },
  'all of one length': { lengths: Array.from({ length: 64 }, () => 32), batch: 16, tokens: 128 },
};

for (const [name, { lengths, batch, tokens }] of Object.entries(cases)) {
  const plan = (seed: number, epoch: number) => planEpoch(lengths, { batch, tokens, seed, epoch });

  describe(`the steps of an epoch: ${name}`, () => {
    for (const epoch of [0, 1, 5]) {
      const steps = plan(7, epoch);
      const membersOf = (step: (typeof steps)[number]) => step.flatMap((group) => group.members);

      it(`take every sequence once (epoch ${epoch})`, () => {
        const all = steps.flatMap(membersOf).sort((a, b) => a - b);
        assert.deepEqual(
          all,
          lengths.map((_, i) => i),
        );
      });

      it(`take so many examples each, but for one step (epoch ${epoch})`, () => {
        assert.equal(steps.length, Math.ceil(lengths.length / batch));
        const sizes = steps.map((step) => membersOf(step).length).sort((a, b) => b - a);
        const rest = lengths.length - batch * (steps.length - 1);
        assert.deepEqual(
          sizes,
          sizes.map((_, i) => (i < steps.length - 1 ? batch : rest)),
        );
      });

      it(`compute no more tokens at once than allowed, but for a sequence alone (epoch ${epoch})`, () => {
        for (const { members, length } of steps.flat()) {
          assert.ok(members.length === 1 || members.length * length <= tokens, `${members.length} of ${length}`);
        }
      });

      it(`say how long each member is, and pad little (epoch ${epoch})`, () => {
        for (const group of steps.flat()) {
          assert.deepEqual(
            group.lengths,
            group.members.map((i) => lengths[i]),
          );
          assert.equal(group.length, Math.max(...group.lengths));
          // A share of 0.15 of each member at most (maxPadding in src/model/batch.ts).
          for (const n of group.lengths) assert.ok(n >= 0.85 * group.length, `${n} padded to ${group.length}`);
        }
      });
    }

    it('are a function of seed and epoch', () => {
      assert.deepEqual(plan(7, 3), plan(7, 3));
      if (lengths.length < 10) return; // So few may be drawn in the same order twice.
      assert.notDeepEqual(plan(7, 3), plan(7, 4));
      assert.notDeepEqual(plan(7, 3), plan(8, 3));
    });
  });
}

describe('the steps of an epoch', () => {
  const lengths = mixed(203, 5, 40);
  const plan = (epoch: number) => planEpoch(lengths, { batch: 4, tokens: 512, seed: 7, epoch });
  const companions = (epoch: number) =>
    new Set(
      plan(epoch).map((step) =>
        step
          .flatMap(({ members }) => members)
          .sort((a, b) => a - b)
          .join(),
      ),
    );

  it('bring other examples together each time, not only the same ones in another order', () => {
    const first = companions(0);
    const again = [...companions(1)].filter((step) => first.has(step));
    assert.ok(again.length < 0.1 * first.size, `${again.length} of ${first.size} steps again`);
  });

  it('do not go from short to long', () => {
    const means = plan(0).map((step) => {
      const all = step.flatMap((group) => group.lengths);
      return all.reduce((sum, n) => sum + n, 0) / all.length;
    });
    const rises = means.filter((mean, i) => i > 0 && mean > means[i - 1]!).length;
    // A shuffled list rises at about half of its steps, a sorted one at all or none.
    assert.ok(rises > 0.3 * means.length && rises < 0.7 * means.length, `${rises} of ${means.length}`);
  });

  it('pad less than taking sequences as they come', () => {
    const groups = plan(0).flat();
    const computed = groups.reduce((sum, { members, length }) => sum + members.length * length, 0);
    const real = lengths.reduce((sum, n) => sum + n, 0);
    let plain = 0;
    for (let from = 0; from < lengths.length; from += 4) {
      const four = lengths.slice(from, from + 4);
      plain += four.length * Math.max(...four);
    }
    assert.ok(computed / real < 1.1 && computed < plain, `${computed} computed, ${plain} as they come, ${real} real`);
  });
});
