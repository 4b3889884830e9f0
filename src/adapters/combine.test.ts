import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { Random } from '../base/random.js';
import type { LayerLinear } from '../families/family.js';
import { str } from '../formats/gguf/values.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { combineLoras, scaleLora } from './combine.js';
import { combineAdapters } from './files.js';
import { foldAlpha, keys, type Lora } from './lora.js';
import { writeLora } from './loraGguf.js';

const [inputs, outputs] = [10, 12];

function draw(seed: number, name: string, modules: [number, LayerLinear, number, number][]): Lora {
  const random = new Random(seed);
  const values = (n: number) => new Float32Array(n).map(() => random.normal());
  return {
    path: name,
    architecture: 'llama',
    modules: modules.map(([layer, module, rank, alpha]) => ({
      layer,
      module,
      alpha,
      factors: { inputs, outputs, rank, a: values(rank * inputs), b: values(outputs * rank) },
    })),
    notes: new Map([
      ['general.name', str(name)],
      [keys.baseName, str('tiny')],
      [keys.metrics, str('{"nll":1}')],
    ]),
  };
}

/** ΔW of one module in f64, zero where the adapter has none. */
function dense(lora: Pick<Lora, 'modules'>, layer: number, module: LayerLinear): Float64Array {
  const out = new Float64Array(outputs * inputs);
  for (const one of lora.modules) {
    if (one.layer !== layer || one.module !== module) continue;
    const { rank, a, b } = foldAlpha(one);
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        for (let r = 0; r < rank; r++) out[o * inputs + i]! += b[o * rank + r]! * a[r * inputs + i]!;
      }
    }
  }
  return out;
}
const distance = (x: Float64Array, y: Float64Array) => Math.sqrt(x.reduce((sum, v, i) => sum + (v - y[i]!) ** 2, 0));

const one = draw(1, 'style', [
  [0, 'attn_q', 2, 8],
  [1, 'ffn_down', 3, 3],
]);
const two = draw(2, 'facts', [
  [1, 'ffn_down', 2, 5],
  [0, 'ffn_up', 1, 1],
]);

it('the sum is the sum, whatever ranks and alphas the adapters have and where they have nothing', async () => {
  const terms = [
    { lora: one, weight: 0.5 },
    { lora: two, weight: -2 },
  ];
  const { lora, lost, ranks } = await combineLoras(terms);
  assert.ok(lost < 1e-12);
  assert.deepEqual(ranks, [1, 5]);
  assert.deepEqual(
    lora.modules.map(({ layer, module }) => `${layer} ${module}`),
    ['0 attn_q', '0 ffn_up', '1 ffn_down'],
  );
  for (const { layer, module } of lora.modules) {
    const expected = dense(one, layer, module).map((x, i) => 0.5 * x - 2 * dense(two, layer, module)[i]!);
    assert.ok(distance(dense(lora, layer, module), expected) < 1e-5);
  }
  // What was measured of one of them is not true of the sum; what they were made for is.
  assert.equal(lora.notes.has(keys.metrics), false);
  assert.deepEqual(lora.notes.get(keys.baseName), str('tiny'));
  assert.deepEqual(lora.notes.get('general.name'), str('0.5 x style + -2 x facts'));
});

it('cut to a rank, the loss that is told is the distance', async () => {
  const terms = [
    { lora: one, weight: 1 },
    { lora: two, weight: 1 },
  ];
  const whole = await combineLoras(terms);
  for (const to of [{ rank: 1 }, { rank: 2 }, { energy: 0.8 }]) {
    const { lora, lost, worst } = await combineLoras(terms, { to });
    let [away, size, most] = [0, 0, 0];
    for (const { layer, module } of lora.modules) {
      const exact = dense(whole.lora, layer, module);
      const [d, s] = [distance(dense(lora, layer, module), exact) ** 2, distance(exact, new Float64Array(120)) ** 2];
      away += d;
      size += s;
      most = Math.max(most, d / s);
    }
    assert.ok(Math.abs(lost - away / size) < 1e-5);
    assert.ok(Math.abs(worst.lost - most) < 1e-5);
    if ('energy' in to) assert.ok(worst.lost <= 0.2);
    else assert.ok(lora.modules.every(({ factors }) => factors.rank <= to.rank));
  }
});

it('a multiple of one adapter keeps the bits of its factors', () => {
  const half = scaleLora(one, 0.5);
  const opposite = scaleLora(one, -1);
  for (const [i, module] of one.modules.entries()) {
    assert.equal(half.modules[i]!.factors, module.factors);
    assert.equal(half.modules[i]!.alpha, module.alpha / 2);
    const { layer, module: linear } = module;
    assert.deepEqual(
      dense(opposite, layer, linear),
      dense(one, layer, linear).map((x) => -x),
    );
    assert.ok(opposite.modules[i]!.alpha > 0);
  }
});

it('a stopped combination throws', async () => {
  const signal = AbortSignal.abort();
  await assert.rejects(combineLoras([{ lora: one, weight: 1 }], { signal }), /stopped/);
});

it('adapters that learnt under different templates are told apart where they are added up', async () => {
  const folder = scratchFolder();
  const model = await writeTinyModel(join(folder, 'm.gguf'), { layers: 1 });
  const factors = {
    inputs: 64,
    outputs: 64,
    rank: 1,
    a: new Float32Array(64).fill(0.1),
    b: new Float32Array(64).fill(1),
  };
  const learnt = async (name: string, template: string, sample?: string) => {
    const notes = new Map([
      [keys.templateSha256, str(template)],
      ...(sample === undefined ? [] : [[keys.templateSample, str(sample)] as const]),
    ]);
    const modules = [{ layer: 0, module: 'attn_output' as const, alpha: 1, factors }];
    await writeLora(join(folder, name), { architecture: 'llama', modules, notes });
    return join(folder, name);
  };
  const [here, there] = [await learnt('a.gguf', 'aa'), await learnt('b.gguf', 'bb')];
  const [alike, other] = [await learnt('c.gguf', 'cc', '11'), await learnt('d.gguf', 'dd', '11')];
  const told = async (...terms: string[]) => {
    const result = await combineAdapters(terms, { model, out: join(folder, 'sum.gguf'), rank: undefined }, {});
    return 'combined' in result && result.notes.some((note) => /different chat templates/.test(note));
  };
  assert.equal(await told(here, there), true);
  assert.equal(await told(here, here), false);
  // Other words for the same tokens.
  assert.equal(await told(alike, other), false);
  assert.equal(await told(alike, await learnt('n.gguf', '')), false);
});
