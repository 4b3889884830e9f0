import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { fromFloat32 } from '../formats/arrays.js';
import { writeSafetensors } from '../formats/safetensors.js';
import { linearShape } from '../model/hyperparameters.js';
import { hfName, tinyBase } from '../testing/peft.js';
import { scratchFolder } from '../testing/scratch.js';
import { corrections } from './lora.js';
import { openAdapter } from './openAdapter.js';
import { permuteRows } from './peft/names.js';

const folder = scratchFolder();
const base = tinyBase();
const random = new Random(3);
const normal = (n: number) => new Float32Array(n).map(() => random.normal());
let made = 0;

interface Written {
  config?: object;
  dtype?: 'f32' | 'f16' | 'bf16';
  prefix?: string;
  name?: (name: string) => string;
  shape?: (rows: number, columns: number) => [number, number];
}

const usual = { fine_tune_type: 'lora', num_layers: 2, lora_parameters: { rank: 3, scale: 20, dropout: 0 } };

/** An adapter as mlx-lm saves it: A [inputs, rank], B [rank, outputs]. */
async function write({ config = usual, dtype = 'f32', prefix = '', name = (one) => one, shape }: Written = {}) {
  const at = join(folder, String(made++));
  mkdirSync(at);
  const factors = new Map<string, { a: Float32Array; b: Float32Array }>();
  const tensors = (['attn_q', 'attn_v', 'ffn_down'] as const).flatMap((module) => {
    const [inputs, outputs] = linearShape(base, module, 0);
    const [a, b] = [normal(inputs * 3), normal(3 * outputs)];
    factors.set(module, { a, b });
    const one = (part: 'a' | 'b', values: Float32Array, rows: number, columns: number) => ({
      name: name(`${prefix}${hfName(1, module)}.lora_${part}`),
      ...fromFloat32(values, shape?.(rows, columns) ?? [rows, columns], dtype),
    });
    return [one('a', a, inputs, 3), one('b', b, 3, outputs)];
  });
  await writeSafetensors(join(at, 'adapters.safetensors'), tensors, []);
  writeFileSync(join(at, 'adapter_config.json'), JSON.stringify(config));
  return { at, factors };
}

describe('an adapter of MLX', () => {
  it('is scale · (A·B)ᵀ, rows in the order of GGUF, whatever model it is part of', async () => {
    for (const [config, scale, prefix] of [
      [usual, 20, ''],
      // Settings of older versions, which wrote an alpha that nothing read.
      [{ lora_layers: 2, lora_parameters: { keys: ['x'], rank: 3, alpha: 16, scale: 2.5, dropout: 0.05 } }, 2.5, ''],
      [usual, 20, 'language_model.'],
    ] as const) {
      const { at, factors } = await write({ config, prefix });
      const read = corrections(await openAdapter(at, base));
      assert.equal(read.length, 3);
      for (const { layer, module, factors: found } of read) {
        assert.equal(layer, 1);
        const { a, b } = factors.get(module)!;
        const [inputs, outputs] = linearShape(base, module, layer);
        const delta = new Float32Array(outputs * inputs);
        for (let o = 0; o < outputs; o++)
          for (let i = 0; i < inputs; i++)
            for (let r = 0; r < 3; r++) delta[o * inputs + i]! += scale * b[r * outputs + o]! * a[i * 3 + r]!;
        const wanted = permuteRows(delta, inputs, base, module, 'toGguf');
        for (let o = 0; o < outputs; o++) {
          for (let i = 0; i < inputs; i++) {
            let sum = 0;
            for (let r = 0; r < 3; r++) sum += found.b[o * 3 + r]! * found.a[r * inputs + i]!;
            assert.ok(Math.abs(sum - wanted[o * inputs + i]!) < 1e-3, `${module} ${o} ${i}`);
          }
        }
      }
    }
  });

  it('is read in halves', async () => {
    for (const dtype of ['f16', 'bf16'] as const) {
      const { at } = await write({ dtype });
      assert.equal((await openAdapter(at, base)).format, 'mlx');
    }
  });

  const parameters = usual.lora_parameters;
  const refused: [string, Written, RegExp][] = [
    ['DoRA', { config: { ...usual, fine_tune_type: 'dora' } }, /MLX with the magnitudes of DoRA.*mlx_lm\.fuse/],
    [
      'DoRA, as it was called',
      { config: { use_dora: true, lora_parameters: parameters, num_layers: 2 } },
      /magnitudes of DoRA/,
    ],
    ['whole layers', { config: { ...usual, fine_tune_type: 'full' } }, /MLX with whole layers.*mlx_lm\.fuse/],
    ['another type', { config: { ...usual, fine_tune_type: '__proto__' } }, /fine_tune_type "__proto__"/],
    ['no scale', { config: { ...usual, lora_parameters: { rank: 3, alpha: 6 } } }, /no scale.*alpha \/ rank/],
    ['a scale of 0', { config: { ...usual, lora_parameters: { ...parameters, scale: 0 } } }, /another scale/],
    [
      'another rank',
      { config: { ...usual, lora_parameters: { ...parameters, rank: 4 } } },
      /\[32, 3\], expected \[32, 4\]/,
    ],
    ['the layout of PEFT', { shape: (rows, columns) => [columns, rows] }, /lora_A of .* expected/],
    ['mlx-vlm', { config: { rank: 3, alpha: 0.1, dropout: 0 } }, /mlx-vlm/],
    ['the head', { name: (name) => name.replace(/model\.layers\.1\.self_attn\.v_proj/, 'lm_head') }, /output head/],
    ['a magnitude', { name: (name) => name.replace(/v_proj\.lora_a/, 'v_proj.m') }, /belongs to DoRA/],
    ['experts', { name: (name) => name.replace(/mlp\.down_proj/, 'mlp.switch_mlp.down_proj') }, /corrects experts/],
    [
      'another model',
      { name: (name) => name.replace('layers.1', 'layers.7') },
      /layer 7 of a base model that has 2 layers/,
    ],
  ];
  for (const [name, written, pattern] of refused) {
    it(`is refused with ${name}`, async () => {
      const { at } = await write(written);
      await assert.rejects(openAdapter(at, base), (e) => e instanceof LoamError && pattern.test(e.message));
    });
  }

  it('without its weights says what is there instead', async () => {
    const { at } = await write();
    await assert.rejects(openAdapter(join(at, 'adapters.safetensors'), base), /alone.*pass the folder that it lies in/);
    renameSync(join(at, 'adapters.safetensors'), join(at, '0000100_adapters.safetensors'));
    await assert.rejects(
      openAdapter(at, base),
      /checkpoints .* "0000100_adapters\.safetensors".*copy the one you want/,
    );
    renameSync(join(at, '0000100_adapters.safetensors'), join(at, 'adapters.npz'));
    await assert.rejects(openAdapter(at, base), /no adapters\.safetensors, but adapters\.npz/);
  });

  it('without its settings is called by its name, and folders of adapters are named', async () => {
    const at = join(folder, 'bare');
    mkdirSync(at);
    await assert.rejects(openAdapter(at, base), /a folder without adapter_config\.json[;,] /);
    for (const name of ['style', 'facts']) {
      mkdirSync(join(at, name));
      writeFileSync(join(at, name, 'adapter_config.json'), '{}');
    }
    await assert.rejects(openAdapter(at, base), /with adapters in "(style|facts)", "(style|facts)".*pass one of these/);
    writeFileSync(join(at, 'adapters.safetensors'), '');
    await assert.rejects(openAdapter(at, base), /an adapter of MLX without adapter_config\.json/);
  });
});
