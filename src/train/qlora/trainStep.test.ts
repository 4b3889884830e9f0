import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { toHalf } from '../../engine/rows.js';
import { linearsOf } from '../../families/family.js';
import { type Batch, groupSequences, sharedOpening } from '../../model/batch.js';
import { plainNll } from '../../testing/plainNll.js';
import {
  assertSame,
  checkDifferences,
  distance,
  draw,
  type How,
  halfRounding,
  rounding,
  type Setup,
  step,
  sum,
  together,
  tokens,
  withRig,
  workspace,
} from '../../testing/trainRig.js';
import { enteringActivations } from './activations.js';
import { keptLayers, Products, productsOfToken, Streams } from './kept.js';
import { adamwStep, dropoutMasks } from './optimiser.js';
import { TrainableLayer } from './trainable.js';
import { ownLengths, trainStep } from './trainStep.js';

describe('the gradients of a step agree with finite differences', () => {
  const lengths = [11, 8, 12];
  const cases: Record<string, Setup & How & { shared?: number }> = {
    'grouped heads, the head tied to the embedding': {},
    'an untied head, biases, frequency factors': { model: { tied: false, biases: true, ropeFactors: true } },
    'one head of keys for all, four layers': { model: { kvHeads: 1, layers: 4 } },
    'as many heads of keys as of queries': { model: { kvHeads: 4 } },
    'heads whose widths add up to another one than the embedding': { model: { headDim: 16, heads: 6, kvHeads: 2 } },
    'a shared opening': { model: { biases: true, tied: false }, shared: 8, opening: 8 },
    'a shared opening, one head of keys, three layers': { model: { kvHeads: 1, layers: 3 }, shared: 9, opening: 9 },
    'three layers': { model: { layers: 3 } },
    'only keys and values, of the first of three layers': {
      model: { layers: 3 },
      modules: ['attn_k', 'attn_v'],
      adapted: [0],
      shared: 8,
      opening: 8,
    },
    'only ffn_down, of the last of three layers': { model: { layers: 3 }, modules: ['ffn_down'], adapted: [2] },
    'only some linears': {
      model: { layers: 3 },
      modules: ['attn_q', 'ffn_up'],
      adapted: [1],
      shared: 8,
      opening: 8,
    },
  };
  for (const [name, { shared = 0, opening = 0, ...setup }] of Object.entries(cases)) {
    it(name, () =>
      withRig(setup, async (rig) => {
        const sequences = draw(
          lengths.map((n) => n + shared),
          shared,
        );
        await checkDifferences(rig, sequences, { opening });
      }),
    );
  }

  for (const opening of [0, 8]) {
    it(`dropout${opening ? ' and a shared opening' : ''}`, () =>
      withRig({}, async (rig) => {
        const sequences = draw(
          lengths.map((n) => n + opening),
          opening,
        );
        const masks = dropoutMasks(rig.model.hyper, linearsOf(rig.model.hyper.family), 0.3, {
          seed: 1,
          step: 2,
          micro: 0,
        });
        await checkDifferences(rig, sequences, { opening, masks }, 2);
      }));
  }
});

describe('a step', () => {
  it('with B zero has the NLL of the base model, and gradients of B alone', () =>
    withRig({ model: { tied: false, biases: true }, start: 'B is zero' }, async (rig) => {
      const sequences = draw([19, 17, 20], 8);
      const wanted = await plainNll(rig.model, sequences);
      for (const opening of [0, 8]) {
        for (const train of [false, true]) {
          const { nll, a, b } = await step(rig, sequences, { opening }, train);
          nll.forEach((x, i) => {
            assert.ok(Math.abs(x - wanted[i]!) < 2e-5, `NLL ${x}, by a plain forward pass ${wanted[i]}`);
          });
          assert.ok(a.every((x) => x === 0));
          assert.equal(
            b.some((x) => x !== 0),
            train,
          );
        }
      }
    }));

  it('has the same bits whatever there is room to keep of it', async () => {
    // Nothing, two of the three layers that are gone through twice, and all.
    for (const [family, streamType] of [
      ['llama', 'f32'],
      ['gemma3', 'f16'],
    ] as const) {
      await withRig({ model: { layers: 4, family }, streamType }, async (rig) => {
        const sequences = draw([19, 17, 20], 8);
        const tokens = 3 * 12 + 8;
        const steps = [];
        for (const layers of [0, 2, 3]) {
          using products = new Products(rig.model, layers * tokens * productsOfToken(rig.model));
          assert.equal(keptLayers(rig.model, 4, tokens, layers * tokens * productsOfToken(rig.model)), layers);
          steps.push(await step({ ...rig, products }, sequences, { opening: 8 }));
        }
        assert.deepEqual(steps[1], steps[0]);
        assert.deepEqual(steps[2], steps[0]);
      });
    }
  });

  it('goes the same way by streams that were rounded to f16', async () => {
    for (const family of ['llama', 'gemma3'] as const) {
      await withRig({ model: { layers: 4, family } }, async (rig) => {
        const sequences = draw([19, 17, 20], 8);
        const exact = await step(rig, sequences, { opening: 8 });
        using streams = new Streams(rig.model, 'f16');
        const rounded = await step({ ...rig, streams }, sequences, { opening: 8 });
        rounded.nll.forEach((x, i) => {
          assert.ok(Math.abs(x - exact.nll[i]!) < 0.01 * exact.nll[i]!, `NLL ${x} and ${exact.nll[i]}`);
        });
        for (const factor of ['a', 'b'] as const) {
          const [x, y] = [rounded[factor], exact[factor]];
          const dot = (u: ArrayLike<number>, v: ArrayLike<number>) =>
            Array.from(u).reduce((sum, value, i) => sum + value * v[i]!, 0);
          const cosine = dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
          assert.ok(cosine > 0.999 && cosine < 1, `cosine ${cosine} of ${factor}`);
        }
      });
    }
  });

  it('has the NLL of a plain forward pass with the same factors', () =>
    withRig({ model: { ropeFactors: true, layers: 3 } }, async (rig) => {
      const sequences = draw([19, 17, 20], 8);
      const wanted = await plainNll(rig.model, sequences, rig.factors);
      const base = await plainNll(rig.model, sequences);
      assert.ok(
        wanted.some((x, i) => Math.abs(x - base[i]!) > 0.1),
        'the factors matter',
      );
      for (const opening of [0, 8]) {
        const { nll } = await step(rig, sequences, { opening }, false);
        nll.forEach((x, i) => {
          assert.ok(Math.abs(x - wanted[i]!) < 2e-5, `NLL ${x}, by a plain forward pass ${wanted[i]}`);
        });
      }
    }));

  it('gives the same NLL bit for bit whether gradients are taken or not, and without them adds none', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const trained = await step(rig, sequences);
      const measured = await step(rig, sequences, {}, false);
      assert.deepEqual(measured.nll, trained.nll);
      assert.ok(measured.a.every((x) => x === 0) && measured.b.every((x) => x === 0));
    }));

  for (const opening of [0, 8]) {
    const name = opening > 0 ? ' with a shared opening' : '';
    it(`is the same bit for bit each time${name}`, () =>
      withRig({ model: { layers: 4, biases: true } }, async (rig) => {
        const sequences = draw([19, 17, 20], opening);
        assert.deepEqual(await step(rig, sequences, { opening }), await step(rig, sequences, { opening }));
      }));
  }

  it('gives the same with a shared opening as without, whatever part of it is shared', () =>
    withRig({ model: { layers: 3, biases: true } }, async (rig) => {
      const sequences = draw([25, 22, 26, 23], 12);
      assert.equal(sharedOpening(sequences), 12);
      const wanted = await step(rig, sequences);
      for (const opening of [1, 8, 11, 12]) {
        assertSame(await step(rig, sequences, { opening }), wanted, rounding);
      }
    }));

  it('gives the same where the first prediction comes right after the opening', () =>
    withRig({}, async (rig) => {
      const sequences = draw([12, 11, 14], 9).map(({ tokens: ids }, i) => ({
        tokens: ids,
        targets: i === 0 ? Int32Array.of(10, 11) : Int32Array.of(ids.length - 1),
      }));
      const opening = sharedOpening(sequences);
      assert.equal(opening, 9);
      assertSame(await step(rig, sequences, { opening }), await step(rig, sequences), rounding);
    }));

  it('gives the same where a sequence has one token besides the opening', () =>
    withRig({ model: { layers: 3 } }, async (rig) => {
      const opening = tokens(10);
      // The only token beyond the opening's nine predicts nothing but the last one.
      const sequences = [
        { tokens: Int32Array.of(...opening, 40), targets: Int32Array.of(10) },
        { tokens: Int32Array.of(...opening, 41, 50, 51), targets: Int32Array.of(11, 12) },
      ];
      const shared = sharedOpening(sequences);
      assert.equal(shared, 9);
      const alone = groupSequences(ownLengths(sequences, shared), 1);
      assert.equal(alone.length, 2);
      const wanted = await step(rig, sequences);
      assertSame(await step(rig, sequences, { opening: shared, batches: alone }), wanted, rounding);
    }));

  for (const opening of [0, 8]) {
    const name = opening > 0 ? ' with a shared opening' : '';
    it(`is the sum over sequences, alone or in any padded company${name}`, () =>
      withRig({ model: { layers: 3 } }, async (rig) => {
        const sequences = draw([14, 25, 12, 19, 13], opening);
        const lengths = ownLengths(sequences, opening);
        const batchOf = (members: number[], length = Math.max(...members.map((i) => lengths[i]!))): Batch => ({
          members,
          length,
          lengths: members.map((i) => lengths[i]!),
        });
        const wanted = await step(rig, sequences, { opening, batches: [0, 1, 2, 3, 4].map((i) => batchOf([i])) });
        const others = [
          [batchOf([0, 1, 2, 3, 4])],
          [batchOf([4, 2, 3, 0, 1])],
          [batchOf([3, 1]), batchOf([0, 4, 2])],
          [batchOf([0, 1, 2, 3, 4], Math.max(...lengths) + 7)],
          groupSequences(lengths, 40),
        ];
        for (const batches of others) assertSame(await step(rig, sequences, { opening, batches }), wanted, rounding);
      }));
  }

  it('adds to the gradients that are there', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8]);
      const twice = together(sequences);
      const one = await step(rig, sequences);
      const two = await step(rig, [...sequences, ...sequences], {
        batches: [twice, { ...twice, members: twice.members.map((i) => i + 2) }],
      });
      assert.ok(
        distance(
          two.a,
          one.a.map((x) => 2 * x),
        ) < 1e-5,
      );
      assert.ok(
        distance(
          two.b,
          one.b.map((x) => 2 * x),
        ) < 1e-5,
      );
    }));

  const gemma = { family: 'gemma3', layers: 4, window: 6, period: 2, tied: false } as const;
  const differing = { localHeadDim: 8, sharedKeys: 2, perLayer: 16 } as const;
  for (const [opening, name, model] of [
    [0, '', { layers: 4, biases: true }],
    [8, ' and a shared opening', { layers: 4, biases: true }],
    [8, ' of a model with windows', gemma],
    [8, ' beyond what f16 holds', { ...gemma, embeddingSize: 2e4 }],
    [8, ' with keys of the layers below', { family: 'gemma4', layers: 4, window: 6, headDim: 16, differing }],
  ] as const) {
    it(`from cached activations${name} is near the one that looks tokens up`, () =>
      withRig({ model, first: 2 }, async (rig) => {
        const sequences = draw([19, 17, 20, 31], opening);
        // The same factors, but the layers below are part of the graph.
        const below: TrainableLayer[] = [];
        for (const l of [0, 1]) below.push(await TrainableLayer.load(rig, l, 'f16'));
        try {
          const looked = await step({ ...rig, layers: [...below, ...rig.layers] }, sequences, { opening });
          let passed = 0;
          const options = { firstLayer: 2, opening };
          await using cache = await enteringActivations(rig, sequences, options, (n) => {
            passed += n;
          });
          assert.ok(passed >= 2 * sum(ownLengths(sequences, opening)), `${passed} tokens passed a layer`);
          const entering = async (batch: Batch) => ({
            opening: opening > 0 ? cache.opening : undefined,
            own: await cache.gather(batch.members, batch.length),
          });
          const cached = await step(rig, sequences, { opening, entering });
          assertSame(cached, looked, halfRounding);
          assert.notDeepEqual(cached.nll, looked.nll);
          const batches = groupSequences(ownLengths(sequences, opening), 30);
          assertSame(await step(rig, sequences, { opening, entering, batches }), cached, rounding);
        } finally {
          for (const layer of below) layer[Symbol.dispose]();
        }
      }));
  }

  it('from the embeddings in f16 is near the one that looks tokens up', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const embedded = async (batch: Batch) => {
        const own = new Int32Array(batch.length * batch.members.length);
        batch.members.forEach((member, row) => {
          own.set(sequences[member]!.tokens, row * batch.length);
        });
        const g = workspace.begin();
        const x = g.output(rig.model.embed(g, g.input('i32', [own.length], own)));
        await g.compute();
        return { own: toHalf(x.toFloat32()) };
      };
      const wanted = await step(rig, sequences);
      assertSame(await step(rig, sequences, { entering: embedded }), wanted, halfRounding);
    }));

  for (const [transposed, tolerance] of [
    ['bf16', 1e-2],
    ['q8_0', 3e-2],
  ] as const) {
    it(`has nearly the same gradients with transposed weights in ${transposed}`, () =>
      withRig({ model: { headDim: 16, embedding: 64, feedForward: 96 }, transposed }, async (rig) => {
        const sequences = draw([11, 8, 12]);
        const found = await step(rig, sequences);
        const finer: TrainableLayer[] = [];
        for (const { index } of rig.layers) finer.push(await TrainableLayer.load(rig, index, 'f16'));
        try {
          const wanted = await step({ ...rig, layers: finer }, sequences);
          assertSame(found, wanted, { nll: 0, gradient: tolerance });
        } finally {
          for (const layer of finer) layer[Symbol.dispose]();
        }
      }));
  }

  it('lowers the loss through training', () =>
    withRig({ start: 'B is zero' }, async (rig) => {
      const { parameters } = rig;
      const sequences = draw([11, 8, 12]);
      const losses: number[] = [];
      for (let t = 1; t <= 4; t++) {
        const { nll } = await step(rig, sequences);
        losses.push(sum(nll) / nll.length);
        const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, clip: 1, averaging: 0 };
        await adamwStep(workspace, parameters, settings, { step: t, scale: -1 / nll.length, rateA: 1e-2, rateB: 1e-2 });
      }
      for (let t = 1; t < losses.length; t++) assert.ok(losses[t]! < losses[t - 1]!, `losses ${losses}`);
    }));

  it('stops when asked', () =>
    withRig({}, async (rig) => {
      const sequences = draw([11, 8, 12]);
      const context = { ...rig, opening: 0, signal: AbortSignal.abort() };
      const data = { batch: together(sequences), sequences, entering: undefined };
      await assert.rejects(trainStep(context, data, { train: true }), { name: 'StoppedError' });
    }));
});
