import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaults } from '../../base/options.js';
import { llama } from '../../families/llama.js';
import type { Hyperparameters } from '../../model/hyperparameters.js';
import { distance, draw, rms, step, together, withRig } from '../../testing/trainRig.js';
import { tuneOptions } from '../options.js';
import { qloraSettings } from '../settings.js';
import { priceQlora } from './costs.js';
import { holdFactor, ReplayOrder, withMembers } from './replay.js';
import type { QloraSettings } from './state.js';
import { expectedRows, type TrainSequence, trainStep } from './trainStep.js';

const priced: QloraSettings = {
  ...qloraSettings(
    { ...defaults(tuneOptions), epochs: 3, runs: 1 },
    { hyper: { layers: 2, family: llama } as Hyperparameters, examples: 8 },
  ),
};

type Rig = Parameters<Parameters<typeof withRig>[1]>[0];

/** The gradients that sequences of which some are held add up to. */
async function gradients(rig: Rig, sequences: readonly TrainSequence[], hold?: number) {
  const { parameters } = rig;
  parameters.zeroGradients();
  const data = { batch: together(sequences), sequences, entering: undefined };
  const nll = await trainStep({ ...rig, opening: 0 }, data, { train: true, hold });
  return { nll, a: parameters.groupA.gradient.toFloat32(), b: parameters.groupB.gradient.toFloat32() };
}

/** Rows of the head of some tokens, as what is to be predicted: [embedding, tokens]. */
async function rowsOf({ labels, workspace }: Rig, tokens: readonly number[]): Promise<Float32Array> {
  const g = workspace.begin();
  const rows = g.output(labels.head.rows(g, g.input('i32', [tokens.length], Int32Array.from(tokens))));
  await g.compute();
  return rows.toFloat32();
}

const targetsOf = ({ tokens, targets }: TrainSequence) => [...targets].map((position) => tokens[position]!);

describe('what is held', () => {
  it('has the gradient of its labels where these are certain, as often as it counts', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const learnt = await step(rig, sequences);
      const held: TrainSequence[] = [];
      for (const one of sequences) held.push({ ...one, expected: await rowsOf(rig, targetsOf(one)) });
      {
        const { a, b, nll } = await gradients(rig, held, 2.5);
        assert.equal(nll.length, 0, 'none of it is learnt');
        for (const [got, wanted] of [
          [a, learnt.a],
          [b, learnt.b],
        ] as const) {
          const d = distance(
            got,
            wanted.map((x) => 2.5 * x),
          );
          assert.ok(d < 1e-3, `${d}`);
        }
      }
    }));

  it('has the mean of the gradients where two tokens are as likely', () =>
    withRig({ model: { tied: false, layers: 3 } }, async (rig) => {
      const [one] = draw([12]);
      const other = { ...one!, tokens: one!.tokens.slice() };
      // The last token only: what is read is the same.
      const targets = Int32Array.of(11);
      other.tokens[11] = 3 + ((one!.tokens[11]! + 40) % 262);
      const both = [one!, other].map((sequence) => ({ ...sequence, targets }));
      const parts = [await gradients(rig, [both[0]!]), await gradients(rig, [both[1]!])];
      const rows = await rowsOf(rig, both.flatMap(targetsOf));
      const half = rows.length / 2;
      const expected = rows.slice(0, half).map((x, i) => (x + rows[half + i]!) / 2);
      const { a, b } = await gradients(rig, [{ ...both[0]!, expected }], 1);
      const mean = (x: Float32Array, y: Float32Array) => x.map((value, i) => (value + y[i]!) / 2);
      assert.ok(distance(a, mean(parts[0]!.a, parts[1]!.a)) < 2e-3);
      assert.ok(distance(b, mean(parts[0]!.b, parts[1]!.b)) < 2e-3);
    }));

  it('has no gradient where the model predicts as it did, and one where it no longer does', () =>
    withRig({ start: 'B is zero' }, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const data = { batch: together(sequences), sequences, entering: undefined };
      const rows = await expectedRows({ ...rig, opening: 0 }, data, 0);
      const held = sequences.map((one, i) => ({ ...one, expected: rows[i]! }));
      const learnt = await gradients(rig, sequences);
      const still = await gradients(rig, held);
      assert.ok(rms(still.b) < 1e-3 * rms(learnt.b), `${rms(still.b)} ${rms(learnt.b)}`);
      const moved = held.map((one) => ({ ...one, expected: one.expected.map((x) => -x) }));
      assert.ok(rms((await gradients(rig, moved)).b) > 0.1 * rms(learnt.b));
    }));

  it('is pulled towards its answers by the share that is taught of them', () =>
    withRig({ start: 'B is zero' }, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const data = { batch: together(sequences), sequences, entering: undefined };
      const rows = await expectedRows({ ...rig, opening: 0 }, data, 0.25);
      const learnt = await gradients(rig, sequences);
      const taught = await gradients(
        rig,
        sequences.map((one, i) => ({ ...one, expected: rows[i]! })),
      );
      // Of the prediction itself nothing is left to learn, so that the share of the answers is all.
      const share = learnt.b.map((x) => 0.25 * x);
      assert.ok(distance(taught.b, share) < 5e-3, `${distance(taught.b, share)}`);
    }));

  it('beside what is learnt changes nothing of what that tells, and adds its gradient', () =>
    withRig({ model: { layers: 3 } }, async (rig) => {
      const [first, second, third] = draw([11, 8, 12]);
      const held = { ...second!, expected: await rowsOf(rig, targetsOf(second!)) };
      const mixed = await gradients(rig, [first!, held, third!], 1);
      const all = await gradients(rig, [first!, second!, third!]);
      const plain = await step(rig, [first!, third!]);
      assert.deepEqual(
        [...mixed.nll].map((x) => x.toFixed(4)),
        plain.nll.map((x) => x.toFixed(4)),
      );
      assert.ok(distance(mixed.a, all.a) < 1e-3);
    }));
});

describe('the price of what is held', () => {
  it('is in time and memory: more of both, by its tokens and by what is kept of them', () =>
    withRig({}, async ({ model }) => {
      // A token takes a second forward in a layer and three with the way back, in the last one with the head twice as much.
      const point = (tokens: number, factor: number) => ({
        tokens,
        forward: factor * tokens,
        both: 3 * factor * tokens,
        bytes: 100,
      });
      const line = (factor: number) => [point(64, factor), point(512, factor)] as const;
      const costs = { one: line(2), two: line(3), load: 0, step: 0 };
      const [train, validation, replay] = [draw(Array(8).fill(20)), draw([20]), draw([10, 10])];
      const settings = { ...priced, firstLayer: 0 };
      const plain = priceQlora(model, costs, { train, validation }, settings);
      const held = priceQlora(model, costs, { train, validation, replay }, settings);
      const targets = replay.reduce((sum, one) => sum + one.targets.length, 0);
      assert.equal(held.memoryBytes - plain.memoryBytes, 4 * model.hyper.embedding * targets);
      // Four examples of 20 tokens a step, and 0.6 of that of the others: 4.8 of 10 tokens. Two steps an epoch, three epochs.
      const layers = model.hyper.layers - 1;
      const once = 20 * (layers + 2);
      const between = 3 * 2 * 4.8 * 10 * 3 * (layers + 2);
      assert.ok(Math.abs(held.seconds - plain.seconds - once - between) < 1e-6);
      assert.deepEqual(priceQlora(model, costs, { train, validation, replay: [] }, settings), plain);
    }));
});

describe('the order of what is held', () => {
  it('is of the seed and the step, with each in its turn and as many as the rate says', () => {
    for (const rate of [0.4, 1, 2.5]) {
      const order = new ReplayOrder(7, rate);
      const steps = Array.from({ length: 35 }, (_, i) => order.of(3, i + 1));
      const again = new ReplayOrder(7, rate);
      assert.deepEqual(again.of(3, 20), steps[19], 'whatever was asked before');
      const all = steps.flat();
      assert.equal(all.length, Math.floor(35 * rate));
      for (let from = 0; from + 7 <= all.length; from += 7) assert.equal(new Set(all.slice(from, from + 7)).size, 7);
      assert.notDeepEqual(
        Array.from({ length: 35 }, (_, i) => order.of(4, i + 1)),
        steps,
      );
    }
    assert.deepEqual(new ReplayOrder(0, 0).of(1, 5), []);
  });

  it('joins the batches of a step', () => {
    const lengths = [10, 10, 40, 9, 38];
    const plan = [{ members: [0, 1], length: 10, lengths: [10, 10] }];
    const how = { tokens: 60, opening: 0 };
    const joined = withMembers(plan, [3, 4], lengths, how);
    assert.deepEqual(
      joined.map(({ members, length }) => [[...members].sort(), length]),
      [
        [[4], 38],
        [[0, 1, 3], 10],
      ],
    );
    assert.deepEqual(withMembers(plan, [], lengths, how), plan);
    // What would be computed anew in each batch is worth some padding, within the room there is.
    const wide = withMembers(plan, [3, 4, 2], lengths, { tokens: 500, opening: 200 });
    assert.deepEqual(
      wide.map(({ members, length, lengths: own }) => [members, length, own]),
      [[[2, 4, 0, 1, 3], 40, [40, 38, 10, 10, 9]]],
    );
    const narrow = withMembers(plan, [3, 4, 2], lengths, { tokens: 80, opening: 200 });
    assert.deepEqual(
      narrow.map(({ members }) => members),
      [
        [2, 4],
        [0, 1, 3],
      ],
    );
  });

  it('weighs a held token as much as one that is learnt, times the weight, however seldom it comes', () => {
    const of = (count: number): TrainSequence => ({ tokens: new Int32Array(20), targets: new Int32Array(count) });
    const sequences = [of(8), of(4), { ...of(3), expected: new Float32Array(3) }];
    const plan = [
      { members: [0, 1], length: 20, lengths: [20, 20] },
      { members: [2], length: 20, lengths: [20] },
    ];
    assert.equal(holdFactor(plan, sequences, { weight: 0.5, rate: 1.5 }), 2);
    assert.equal(holdFactor(plan, sequences, { weight: 0.5, rate: 0.25 }), 8);
    assert.equal(holdFactor(plan.slice(0, 1), sequences, { weight: 0.5, rate: 1 }), 1);
  });
});
