import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError, UnsupportedError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { families } from '../../families/index.js';
import { toFloat32 } from '../../formats/arrays.js';
import { openSafetensors } from '../../formats/safetensors.js';
import type { Factors } from '../../model/factors.js';
import { linearShape } from '../../model/hyperparameters.js';
import { everywhere, hfName, type PeftModule, tinyBase, type Weights, writePeftFolder } from '../../testing/peft.js';
import { scratchFolder } from '../../testing/scratch.js';
import type { LoraBase } from '../base.js';
import { foldAlpha } from '../lora.js';
import { readLora, writeLora } from '../loraGguf.js';
import { parseTensorName, permuteRows } from './names.js';
import { readPeft, writePeft } from './peft.js';

const folder = scratchFolder();
let n = 0;
const fresh = (suffix = '') => join(folder, `${n++}${suffix}`);
const settingsOf = (at: string) => JSON.parse(readFileSync(join(at, 'adapter_config.json'), 'utf8'));

/** scale · B·A, rows in Hugging Face's order, in f64. */
function dense(a: Float32Array, b: Float32Array, rank: number, inputs: number, outputs: number, scale: number) {
  const out = new Float64Array(outputs * inputs);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      for (let r = 0; r < rank; r++) out[o * inputs + i]! += scale * b[o * rank + r]! * a[r * inputs + i]!;
    }
  }
  return out;
}

describe('the rotation', () => {
  it('of Hugging Face on its rows gives the scores that llama.cpp gives on permuted rows', () => {
    // Queries and keys of one head each, two positions apart; scores depend on q·k after the rotation alone.
    const base = tinyBase();
    const random = new Random(2);
    const [headDim, half] = [8, 4];
    const angle = (k: number, position: number) => position / 10000 ** (k / half);
    const rotate = (x: Float32Array, position: number, pair: (k: number) => [number, number]) => {
      const out = x.slice();
      for (let k = 0; k < half; k++) {
        const [i, j] = pair(k);
        const [c, s] = [Math.cos(angle(k, position)), Math.sin(angle(k, position))];
        out[i] = c * x[i]! - s * x[j]!;
        out[j] = s * x[i]! + c * x[j]!;
      }
      return out;
    };
    const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
    const all = new Float32Array(32).map(() => random.normal());
    const moved = permuteRows(all, 1, base, 'attn_q', 'toGguf');
    for (let head = 0; head < 4; head++) {
      const [q, p] = [all, moved].map((rows) => rows.slice(head * headDim, (head + 1) * headDim));
      const halves = (k: number): [number, number] => [k, k + half];
      const neighbours = (k: number): [number, number] => [2 * k, 2 * k + 1];
      const expected = dot(rotate(q!, 5, halves), rotate(q!, 3, halves));
      const got = dot(rotate(p!, 5, neighbours), rotate(p!, 3, neighbours));
      assert.ok(Math.abs(expected - got) < 1e-5);
    }
    assert.notDeepEqual(moved, all);
    assert.deepEqual(permuteRows(moved, 1, base, 'attn_q', 'toHf'), all);
    // Keys have fewer heads; values, and other families, keep their order.
    const keys = all.slice(0, 16);
    assert.deepEqual(permuteRows(keys, 1, base, 'attn_k', 'toGguf'), moved.slice(0, 16));
    assert.equal(permuteRows(all, 1, base, 'attn_v', 'toGguf'), all);
    for (const other of ['qwen2', 'qwen3', 'gemma3'])
      assert.equal(permuteRows(all, 1, tinyBase(other), 'attn_q', 'toGguf'), all);
  });
});

interface Case {
  name: string;
  config: object;
  modules: PeftModule[];
  /** alpha / rank, or alpha / √rank. */
  scale: (module: PeftModule) => number;
  notes?: { shifted?: number; padded?: number; rounded?: number };
  /** B comes back the same on the way to GGUF and back. */
  exact?: boolean;
}

const cases: Case[] = [
  { name: 'one rank and alpha', config: {}, modules: everywhere(() => 4), scale: () => 2 },
  {
    name: 'some layers only',
    config: { target_modules: ['model.layers.1.self_attn.k_proj', 'model.layers.1.mlp.down_proj'], lora_alpha: 3 },
    modules: everywhere(() => 4).filter(({ layer, module }) => layer === 1 && ['attn_k', 'ffn_down'].includes(module)),
    scale: () => 3 / 4,
  },
  {
    name: 'ranks of their own',
    config: { rank_pattern: { q_proj: 2, 'layers\\.1\\.mlp\\.down_proj': 7 } },
    modules: everywhere((module, layer) => (module === 'attn_q' ? 2 : module === 'ffn_down' && layer === 1 ? 7 : 4)),
    scale: ({ rank }) => 8 / rank,
  },
  {
    name: 'alphas apart by powers of two',
    config: { alpha_pattern: { q_proj: 4, 'model.layers.0.mlp.up_proj': 1 } },
    modules: everywhere(() => 4),
    scale: ({ layer, module }) => (module === 'attn_q' ? 4 : module === 'ffn_up' && layer === 0 ? 1 : 8) / 4,
    notes: { shifted: 3 },
  },
  {
    name: 'alphas that ranks of zeros can express',
    config: { lora_alpha: 24, alpha_pattern: { k_proj: 16 } },
    modules: everywhere(() => 4),
    scale: ({ module }) => (module === 'attn_k' ? 16 : 24) / 4,
    notes: { padded: 2 },
  },
  {
    name: 'an alpha that only rounding can express',
    config: { lora_alpha: 7.1, alpha_pattern: { k_proj: 5.3 } },
    modules: everywhere(() => 4),
    scale: ({ module }) => (module === 'attn_k' ? 5.3 : 7.1) / 4,
    notes: { rounded: 2 },
    exact: false,
  },
  {
    name: 'rsLoRA',
    config: { use_rslora: true, r: 8, lora_alpha: 5 },
    modules: everywhere(() => 8),
    scale: () => 5 / Math.sqrt(8),
  },
  {
    name: 'rsLoRA with ranks apart by a factor of four',
    config: { use_rslora: true, rank_pattern: { gate_proj: 16 } },
    modules: everywhere((module) => (module === 'ffn_gate' ? 16 : 4)),
    scale: ({ rank }) => 8 / Math.sqrt(rank),
    // α√16 = 2·α√4: the others are half of it.
    notes: { shifted: 12 },
  },
];

async function throughGguf(from: string, architecture = 'llama') {
  const base = tinyBase(architecture);
  const lora = await readPeft(from, base);
  const gguf = fresh('.gguf');
  const done = await writeLora(gguf, lora);
  return { base, done, read: await readLora(gguf, base) };
}

async function tensorsOf(at: string): Promise<Weights> {
  await using file = await openSafetensors(join(at, 'adapter_model.safetensors'));
  const out: Weights = new Map();
  for (const name of file.tensors.keys()) out.set(name, toFloat32(await file.read(name)));
  return out;
}

describe('PEFT to GGUF', () => {
  for (const { name, config, modules, scale, notes = {}, exact = true } of cases) {
    it(`${name}: the GGUF computes alpha/rank · B·A, and back in PEFT the bits are the same`, async () => {
      const from = fresh();
      const weights = await writePeftFolder(from, config, modules);
      const { base, done, read } = await throughGguf(from);
      const { shifted = 0, padded = 0, rounded = 0 } = notes;
      assert.deepEqual([done.shifted, done.padded, done.rounded], [shifted, padded, rounded]);
      assert.equal(read.modules.length, modules.length);
      for (const module of read.modules) {
        const { layer, module: linear, factors, alpha } = module;
        const original = modules.find((m) => m.layer === layer && m.module === linear)!;
        const part = (p: string) => weights.get(`base_model.model.${hfName(layer, linear)}.lora_${p}.weight`)!;
        const [inputs, outputs] = linearShape(base, linear, layer);
        const expected = dense(part('A'), part('B'), original.rank, inputs, outputs, scale(original));
        const b = permuteRows(factors.b, factors.rank, base, linear, 'toHf');
        const got = dense(factors.a, b, factors.rank, inputs, outputs, alpha / factors.rank);
        const size = Math.max(...expected.map(Math.abs));
        assert.ok(
          got.every((x, i) => Math.abs(x - expected[i]!) <= 2e-7 * size),
          hfName(layer, linear),
        );
      }
      const back = fresh();
      await writePeft(back, read, base);
      const settings = settingsOf(back);
      for (const [key, value] of Object.entries(config)) assert.deepEqual(settings[key], value, key);
      const again = await tensorsOf(back);
      assert.deepEqual([...again.keys()].sort(), [...weights.keys()].sort());
      for (const [tensor, values] of weights) {
        const returned = again.get(tensor)!;
        if (exact) assert.deepEqual(returned, values, tensor);
        // Multiplied and divided again, each time rounded.
        else
          assert.ok(
            returned.every((x, i) => Math.abs(x - values[i]!) <= 2.4e-7 * Math.abs(values[i]!)),
            tensor,
          );
      }
      // And once more to GGUF: the same factors and alpha.
      const second = await throughGguf(back);
      if (exact) assert.deepEqual(second.read.modules, read.modules);
    });
  }

  it('halves are widened exactly', async () => {
    for (const dtype of ['f16', 'bf16'] as const) {
      const from = fresh();
      await writePeftFolder(
        from,
        {},
        everywhere(() => 4),
        { dtype },
      );
      const expected = await tensorsOf(from);
      const { base, read } = await throughGguf(from);
      const back = fresh();
      await writePeft(back, read, base);
      const sorted = (weights: Weights) => [...weights].sort(([x], [y]) => (x < y ? -1 : 1));
      assert.deepEqual(sorted(await tensorsOf(back)), sorted(expected));
    }
  });

  it('names of other origins are understood', async () => {
    for (const rename of [
      (name: string) => name.replace('.weight', '.default.weight'),
      (name: string) => name.replace('.weight', ''),
      (name: string) => name.replace('base_model.model.model.', 'base_model.model.model.language_model.'),
      (name: string) => name.replace('base_model.model.model.', 'base_model.model.language_model.model.'),
    ]) {
      const from = fresh();
      await writePeftFolder(
        from,
        {},
        everywhere(() => 4),
        { rename },
      );
      assert.equal((await readPeft(from, tinyBase('gemma3'))).modules.length, 14);
    }
  });
});

it('patterns of rank and alpha say a module as the model around it does, or the one that was compiled', async () => {
  const name = 'layers.1.self_attn.q_proj';
  for (const [around, pattern] of [
    ['model', `^model.${name}`],
    ['model.language_model', `model.language_model.${name}`],
    ['language_model.model', `^language_model.model.${name}`],
    ['_orig_mod.model', `^_orig_mod.model.${name}`],
    ['_orig_mod.model', `^model.${name}`],
    ['', `^${name}`],
  ] as const) {
    const from = fresh();
    const rename = (one: string) =>
      one.replace('base_model.model.model.', `base_model.model.${around}.`).replace('..', '.');
    const modules = everywhere((module, layer) => (layer === 1 && module === 'attn_q' ? 2 : 4));
    await writePeftFolder(from, { rank_pattern: { [pattern]: 2 }, alpha_pattern: { [pattern]: 32 } }, modules, {
      rename,
    });
    const read = await readPeft(from, tinyBase());
    const others = read.modules.filter(({ alpha }) => alpha !== 8);
    assert.deepEqual(
      others.map(({ layer, module, alpha }) => [layer, module, alpha]),
      [[1, 'attn_q', 32]],
      pattern,
    );
  }
});

describe('GGUF to PEFT', () => {
  it('is described by rank_pattern where ranks differ, and comes back with the same bits', async () => {
    const base = tinyBase();
    const random = new Random(4);
    const modules = everywhere((module) => (module === 'attn_output' ? 5 : 3)).map(({ layer, module, rank }) => {
      const [inputs, outputs] = linearShape(base, module, layer);
      const values = (count: number) => new Float32Array(count).map(() => random.normal());
      const factors: Factors = { inputs, outputs, rank, a: values(rank * inputs), b: values(outputs * rank) };
      return { layer, module, factors, alpha: 16 };
    });
    const gguf = fresh('.gguf');
    await writeLora(gguf, { architecture: 'llama', modules, notes: new Map() });
    const at = fresh();
    const read = await readLora(gguf, base);
    await writePeft(at, read, base);
    const settings = settingsOf(at);
    assert.deepEqual([settings.r, settings.lora_alpha, settings.alpha_pattern], [3, 16, {}]);
    assert.deepEqual(Object.values(settings.rank_pattern), [5, 5]);
    assert.deepEqual(settings.target_modules.length, 7);
    const again = await readPeft(at, base);
    assert.deepEqual(again.modules, read.modules);
    assert.deepEqual(again.modules.map(foldAlpha), modules.map(foldAlpha));
    // Layers without a module are named one by one: a short name would adapt them too.
    const some = { ...read, modules: read.modules.slice(0, 8) };
    const partly = fresh();
    await writePeft(partly, some, base);
    assert.deepEqual(
      settingsOf(partly).target_modules,
      some.modules.map(({ layer, module }) => hfName(layer, module)),
    );
  });

  describe('a base that also sees', () => {
    const text = 'base_model.model.model.layers.';
    const sees = 'base_model.model.model.language_model.layers.';
    const namesOf = async (at: string) => [...(await tensorsOf(at)).keys()].map((name) => name.split(/\d/)[0]);
    /** Written onto a base, out of an adapter that PEFT made with these names. */
    const through = async (base: LoraBase, made: string, settings = {}) => {
      const from = fresh();
      const rename = (name: string) => name.replace(text, made);
      await writePeftFolder(
        from,
        settings,
        everywhere((module) => (module === 'attn_q' ? 2 : 4)),
        { rename },
      );
      const gguf = fresh('.gguf');
      await writeLora(gguf, await readPeft(from, base));
      const at = fresh();
      await writePeft(at, await readLora(gguf, base), base);
      return at;
    };
    const rank_pattern = { q_proj: 2 };

    it('is the one that the folder names, whatever the adapter was made on', async () => {
      for (const [isSeeing, made] of [
        [true, text],
        [false, sees],
      ] as const) {
        const base = { ...tinyBase('gemma4'), sees: isSeeing };
        const at = await through(base, made, { rank_pattern });
        const [expected, holder] = isSeeing ? [sees, 'model.language_model'] : [text, 'model'];
        assert.deepEqual(new Set(await namesOf(at)), new Set([expected]));
        // A short name would find the layers of the part that sees, and leave those of the text as they are; onto a model that sees PEFT
        // would load an adapter for the text model without its factors.
        const { target_modules: targets, rank_pattern: ranks } = settingsOf(at);
        assert.ok(targets.every((name: string) => name.startsWith(`${holder}.layers.`)));
        assert.ok(Object.keys(ranks).every((name) => name.startsWith(`${holder}.layers.`.replaceAll('.', '\\.'))));
        assert.equal((await readPeft(at, base)).modules.length, 14);
      }
    });

    it('is as where PEFT made the adapter if nothing is known of it, with the settings that it had', async () => {
      for (const made of [text, sees]) {
        const at = await through(tinyBase('gemma4'), made, { rank_pattern, target_modules: '.*layers.*_proj' });
        assert.deepEqual(new Set(await namesOf(at)), new Set([made]));
        assert.equal(settingsOf(at).target_modules, '.*layers.*_proj');
      }
    });

    it('is what most of the family are, for an adapter of Loam', async () => {
      for (const [family, layers, expected] of [
        ['llama', 2, text],
        ['gemma3', 26, text],
        ['gemma3', 34, sees],
        ['gemma4', 2, sees],
        ['mistral3', 2, sees],
        ['qwen35', 2, sees],
      ] as const) {
        const base = { ...tinyBase(family), layers };
        const [inputs, outputs] = linearShape(base, 'ffn_down', 0);
        const factors = { inputs, outputs, rank: 1, a: new Float32Array(inputs), b: new Float32Array(outputs) };
        const lora = {
          path: '',
          architecture: family,
          modules: [{ layer: 0, module: 'ffn_down' as const, factors, alpha: 1 }],
        };
        const at = fresh();
        await writePeft(at, { ...lora, notes: new Map() }, base);
        assert.deepEqual(new Set(await namesOf(at)), new Set([expected]), family);
      }
    });
  });

  it('a scale that was changed since is described as it is', async () => {
    const from = fresh();
    await writePeftFolder(
      from,
      {},
      everywhere(() => 4),
    );
    const { base, read } = await throughGguf(from);
    const at = fresh();
    await writePeft(at, { ...read, modules: read.modules.map((m) => ({ ...m, alpha: 3 * m.alpha })) }, base);
    const again = await readPeft(at, base);
    for (const [i, module] of again.modules.entries()) {
      const { b } = foldAlpha(module);
      const expected = foldAlpha(read.modules[i]!).b;
      assert.ok(b.every((x, k) => Math.abs(x - 3 * expected[k]!) <= 1e-6 * Math.abs(x)));
    }
  });
});

describe('refused, with the reason', () => {
  const refused: [string, object, RegExp][] = [
    ['DoRA', { use_dora: true }, /magnitudes of DoRA/],
    ['transposed weights', { fan_in_fan_out: true }, /fan_in_fan_out/],
    ['whole layers', { modules_to_save: ['lm_head'] }, /modules_to_save/],
    ['biases', { bias: 'all' }, /trained biases/],
    ['biases of factors', { lora_bias: true }, /lora_bias/],
    ['a switch of a later release', { use_tomorrow: true }, /"use_tomorrow" that Loam does not know/],
    ['embeddings', { trainable_token_indices: [1] }, /trained embeddings/],
    ['parameters', { target_parameters: ['x'] }, /target_parameters/],
    ['repeated layers', { layer_replication: [[0, 1]] }, /several times.*PEFT cannot merge this one/],
    ['aLoRA', { alora_invocation_tokens: [1] }, /aLoRA.*PEFT cannot merge this one/],
    ['PiSSA', { init_lora_weights: 'pissa_niter_4' }, /changes the weights of the base/],
    ['another method', { peft_type: 'IA3' }, /kind "IA3".*merge it into its base/],
    ['a prompt', { peft_type: 'PROMPT_TUNING' }, /kind "PROMPT_TUNING", expected LORA\.$/],
    ['__proto__ as method', { peft_type: '__proto__' }, /kind "__proto__"/],
  ];
  for (const [name, config, pattern] of refused) {
    it(name, async () => {
      const from = fresh();
      await writePeftFolder(
        from,
        config,
        everywhere(() => 4),
      );
      await assert.rejects(readPeft(from, tinyBase()), (e) => e instanceof UnsupportedError && pattern.test(e.message));
    });
  }
  const wrong: [string, object, PeftModule[], RegExp, ((name: string) => string)?][] = [
    ['an alpha of 0', { lora_alpha: 0 }, everywhere(() => 4), /lora_alpha is 0/],
    ['an alpha as text', { lora_alpha: '8' }, everywhere(() => 4), /lora_alpha is "8"/],
    ['another rank than told', { r: 5 }, everywhere(() => 4), /lora_A of .* is f32 \[4, 32\], expected \[5, 32\]/],
    ['a huge rank', { r: 2000 }, everywhere(() => 4), /rank 2000, expected at most 1024/],
    [
      'a pattern that could run for ever',
      { rank_pattern: { '(a+)+b': 3 } },
      everywhere(() => 4),
      /pattern "\(a\+\)\+b"/,
    ],
    [
      'a layer that is not there',
      {},
      [{ layer: 2, module: 'attn_q', rank: 4 }],
      /corrects layer 2 of a base model that has 2 layers/,
    ],
    ['nothing', {}, [], /holds no lora_A/],
    [
      'DoRA in the tensors',
      {},
      everywhere(() => 4),
      /belongs to DoRA.*merge it into its base/,
      (x) => x.replace('lora_A', 'lora_magnitude_vector'),
    ],
    [
      'whole tensors beside the factors',
      {},
      everywhere(() => 4),
      /q_proj\.base_layer\.weight" is a whole tensor.*merge it into its base/,
      (x) => x.replace('q_proj.lora_A', 'q_proj.base_layer'),
    ],
    [
      'a factor twice',
      {},
      everywhere(() => 4),
      /two lora_B/,
      (x) => x.replace('lora_A.weight', 'lora_B.default.weight'),
    ],
    [
      'two adapters',
      {},
      everywhere(() => 4),
      /2 adapters in one file: "one", "two".*selected_adapters/,
      (x) => x.replace('.weight', x.includes('layers.0') ? '.one.weight' : '.two.weight'),
    ],
    ...(
      [
        ['the head', 'lm_head', /corrects the output head.*merge it into its base/],
        ['the embeddings', 'model.embed_tokens', /corrects the embeddings.*merge it into its base/],
        ['a part that sees', 'model.vision_tower.encoder.layers.0.q_proj', /sees or hears.*merge it/],
        ['experts', 'model.layers.0.mlp.experts.3.w1', /corrects experts.*merge it into its base/],
      ] as const
    ).map(([name, module, pattern]): [string, object, PeftModule[], RegExp, (name: string) => string] => [
      name,
      {},
      everywhere(() => 4),
      pattern,
      (x) => x.replace(/model\.layers\.1\.mlp\.down_proj/, module),
    ]),
  ];
  for (const [name, config, modules, pattern, rename] of wrong) {
    it(name, async () => {
      const from = fresh();
      await writePeftFolder(from, config, modules, { rename });
      await assert.rejects(readPeft(from, tinyBase()), (e) => e instanceof LoamError && pattern.test(e.message));
    });
  }
  it('factors that are not finite, and a folder without weights', async () => {
    const from = fresh();
    await writePeftFolder(
      from,
      {},
      everywhere(() => 4),
    );
    const path = join(from, 'adapter_model.safetensors');
    const bytes = readFileSync(path);
    bytes.writeFloatLE(Number.NaN, bytes.length - 4);
    writeFileSync(path, bytes);
    await assert.rejects(readPeft(from, tinyBase()), /not finite/);
    writeFileSync(join(from, 'adapter_config.json'), '{"peft_type": "LORA", "peft_type": "LORA"}');
    await assert.rejects(readPeft(from, tinyBase()), /twice/);
  });
});

it('names as torch wraps them, and under any name of the adapter, are those of the same module', () => {
  const family = families.get('llama')!;
  const plain = { layer: 3, module: 'self_attn.q_proj', part: 'A' };
  for (const name of [
    'base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight',
    'base_model.model.model.layers.3.self_attn.q_proj.lora_A.my-adapter_2.weight',
    'base_model.model._orig_mod.model.layers.3.self_attn.q_proj.lora_A.weight',
    '_orig_mod.base_model.model.model.layers.3.self_attn.q_proj.lora_A.default.weight',
    'module.base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight',
    'base_model.model.model.layers.3._checkpoint_wrapped_module.self_attn.q_proj.lora_A.weight',
    'base_model.model.module.model.layers.3.self_attn.q_proj.lora_A.weight',
    'base_model.model.base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight',
    'module._orig_mod.base_model.model.model._fsdp_wrapped_module.layers.3.self_attn.q_proj.lora_A.weight',
  ]) {
    const { adapter: _, path: __, ...found } = parseTensorName(family, name)!;
    assert.deepEqual(found, plain, name);
  }
  assert.equal(parseTensorName(family, 'base_model.model.lm_head.lora_A.weight'), undefined);
});
