import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { Engine } from '../engine/engine.js';
import { dequantize } from '../engine/rows.js';
import type { TensorTypeName } from '../engine/tensorTypes.js';
import { linearsOf } from '../families/family.js';
import { fromFloat32, toFloat32 } from '../formats/arrays.js';
import { readTensorBytes } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { openSafetensorsFolder, writeSafetensorsFolder } from '../formats/safetensorsFolder.js';
import { byLayer, PlacedLora } from '../model/factors.js';
import { linearShape } from '../model/hyperparameters.js';
import { Model } from '../model/model.js';
import { forwardNodes, sequenceLogits } from '../testing/forward.js';
import { meanKl } from '../testing/kl.js';
import { hfName, tinyBase } from '../testing/peft.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { openBase } from './base.js';
import { foldAlpha, type Lora } from './lora.js';
import { mergeGguf, mergeHf } from './merge.js';
import { permuteRows } from './peft/names.js';

const folder = scratchFolder();
// Its keys and values are f32: nothing but the order of sums differs.
const engine = new Engine({ threads: 2 });
after(() => engine[Symbol.dispose]());
const tokens = Int32Array.from({ length: 24 }, (_, i) => 3 + ((i * 7919) % 250));
const random = new Random(9);
const normal = (n: number, scale: number) => new Float32Array(n).map(() => scale * random.normal());

async function someLora(path: string): Promise<Lora> {
  const base = await openBase(path);
  const modules = [0, 1].flatMap((layer) =>
    linearsOf(base.family)
      .filter((_, i) => (i + layer) % 2 === 0)
      .map((module) => {
        const [inputs, outputs] = linearShape(base, module, layer);
        const factors = { inputs, outputs, rank: 3, a: normal(3 * inputs, 0.2), b: normal(3 * outputs, 0.2) };
        return { layer, module, factors, alpha: 6 };
      }),
  );
  return { path: 'adapter', architecture: 'llama', modules, notes: new Map() };
}

async function logitsOf(path: string, lora?: Lora): Promise<Float32Array> {
  await using model = await Model.open(engine, path);
  using workspace = engine.workspace(forwardNodes(model));
  const modules = (lora?.modules ?? []).map((m) => ({ ...m, factors: foldAlpha(m) }));
  const placed = byLayer(modules, 2).map((list) => new PlacedLora(engine, list));
  const loras = placed.map((p) => p.lora);
  const logits = (await sequenceLogits(model, workspace, tokens, loras)).slice();
  for (const p of placed) p[Symbol.dispose]();
  return logits;
}

describe('an adapter merged into GGUF', () => {
  it('in f32 computes what the adapter beside its base computes; all else is copied', async () => {
    const path = await writeTinyModel(join(folder, 'f32.gguf'), { seed: 1 });
    const lora = await someLora(path);
    const out = join(folder, 'merged.gguf');
    const base = await readGguf(path);
    const { changed, noise } = await mergeGguf(base, lora, out);
    assert.equal(changed, lora.modules.length);
    assert.equal(noise, 0);
    const merged = await logitsOf(out);
    const beside = await logitsOf(path, lora);
    const size = Math.max(...beside.map(Math.abs));
    const apart = merged.reduce((max, x, i) => Math.max(max, Math.abs(x - beside[i]!)), 0);
    assert.ok(apart < 1e-4 * size, `${apart} of ${size}`);
    assert.ok(meanKl(await logitsOf(path), beside, 265) > 0.01, 'the adapter does something');
    const after = await readGguf(out);
    assert.deepEqual([...after.metadata], [...base.metadata]);
    const touched = new Set(lora.modules.map(({ layer, module }) => `blk.${layer}.${module}.weight`));
    for (const name of base.tensors.keys()) {
      const same = Buffer.from(await readTensorBytes(base, name)).equals(await readTensorBytes(after, name));
      assert.equal(same, !touched.has(name), name);
    }
  });

  it('keeps each type, or takes the one asked for, and tells how far rounding moved the weights', async () => {
    const names: TensorTypeName[] = ['f16', 'bf16', 'q8_0', 'q4_1'];
    for (const type of names) {
      const path = await writeTinyModel(join(folder, `${type}.gguf`), { seed: 1, type });
      const lora = await someLora(path);
      const base = await readGguf(path);
      for (const wanted of [undefined, 'f32', 'q8_0'] as const) {
        const out = join(folder, `${type}-${wanted}.gguf`);
        const { noise } = await mergeGguf(base, lora, out, { type: wanted });
        const after = await readGguf(out);
        let [moved, meant] = [0, 0];
        for (const module of lora.modules) {
          const name = `blk.${module.layer}.${module.module}.weight`;
          assert.equal(after.tensor(name).type.name, wanted ?? type);
          const before = dequantize(base.tensor(name).type, await readTensorBytes(base, name));
          const now = dequantize(after.tensor(name).type, await readTensorBytes(after, name));
          const { inputs, outputs, rank, a, b } = foldAlpha(module);
          for (let o = 0; o < outputs; o++) {
            for (let i = 0; i < inputs; i++) {
              let delta = 0;
              for (let r = 0; r < rank; r++) delta += b[o * rank + r]! * a[r * inputs + i]!;
              moved += (now[o * inputs + i]! - before[o * inputs + i]! - delta) ** 2;
              meant += delta ** 2;
            }
          }
        }
        assert.ok(Math.abs(noise - Math.sqrt(moved / meant)) < 1e-3 * noise + 1e-5, `${type}: ${noise}`);
        if (wanted === 'f32') assert.ok(noise < 1e-6);
      }
    }
  });

  it('refuses types that need more than the weights, before anything is written', async () => {
    const path = await writeTinyModel(join(folder, 'wide.gguf'), { seed: 1 });
    const lora = await someLora(path);
    const out = join(folder, 'never.gguf');
    const base = await readGguf(path);
    await assert.rejects(mergeGguf(base, lora, out, { type: 'iq2_xxs' }), /importance matrix.*--type/);
    await assert.rejects(mergeGguf(base, lora, out, { type: 'q4_k' }), /blocks of 256 do not fill its rows of 64/);
    await assert.rejects(mergeGguf(base, lora, out, { signal: AbortSignal.abort() }), /stopped/);
    assert.ok(!existsSync(out));
  });
});

describe('an adapter merged into a Hugging Face folder', () => {
  const base = tinyBase();
  const weights = new Map<string, Float32Array>();
  for (const layer of [0, 1]) {
    for (const module of linearsOf(base.family)) {
      const [inputs, outputs] = linearShape(base, module, layer);
      weights.set(`${hfName(layer, module)}.weight`, normal(inputs * outputs, 0.2));
    }
  }
  const [inputs, outputs] = linearShape(base, 'attn_q', 0);
  const factors = { inputs, outputs, rank: 2, a: normal(2 * inputs, 0.3), b: normal(2 * outputs, 0.3) };
  const lora: Lora = {
    path: 'adapter',
    architecture: 'llama',
    notes: new Map(),
    modules: [
      { layer: 1, module: 'attn_q', factors, alpha: 4 },
      { layer: 0, module: 'attn_v', factors: { ...factors, outputs: 16, b: factors.b.slice(0, 32) }, alpha: 1 },
    ],
  };

  async function model(name: string, dtype: 'f32' | 'f16' | 'bf16'): Promise<string> {
    const at = join(folder, name);
    mkdirSync(at);
    const tensors = [...weights].map(([key, values]) => {
      const columns = key.includes('down_proj') ? 48 : 32;
      return { name: key, ...fromFloat32(values, [values.length / columns, columns], dtype) };
    });
    await writeSafetensorsFolder(
      at,
      [...tensors, { name: 'model.norm.weight', ...fromFloat32(normal(32, 1), [32], dtype) }],
      {
        shardBytes: 20_000,
      },
    );
    writeFileSync(join(at, 'config.json'), '{"model_type": "llama"}');
    // As in the hub's cache, whose files are links.
    writeFileSync(join(folder, `${name}.blob`), '{}');
    symlinkSync(join(folder, `${name}.blob`), join(at, 'tokenizer.json'));
    mkdirSync(join(at, 'additional_chat_templates'));
    writeFileSync(join(at, 'additional_chat_templates', 'tool.jinja'), '{{ messages }}');
    writeFileSync(join(at, 'modeling_evil.py'), 'raise SystemExit');
    writeFileSync(join(at, 'pytorch_model.bin.index.json'), '{}');
    mkdirSync(join(folder, `${name}.blobs`));
    writeFileSync(join(folder, `${name}.blobs`, 'README.md'), 'linked');
    symlinkSync(join(folder, `${name}.blobs`), join(at, 'linked'));
    return at;
  }

  it('changes the corrected matrices to the nearest of their type, rows in its own order, and copies the rest', async () => {
    for (const dtype of ['f32', 'f16', 'bf16'] as const) {
      const from = await model(`hf-${dtype}`, dtype);
      const out = join(folder, `hf-${dtype}-merged`);
      const { changed, left } = await mergeHf(from, base, lora, out);
      assert.equal(changed, 2);
      assert.deepEqual(left, ['modeling_evil.py', 'pytorch_model.bin.index.json']);
      assert.equal(readFileSync(join(out, 'linked', 'README.md'), 'utf8'), 'linked');
      await using before = await openSafetensorsFolder(from);
      await using after = await openSafetensorsFolder(out);
      assert.deepEqual([...after.tensors.keys()].sort(), [...before.tensors.keys()].sort());
      for (const name of before.tensors.keys()) {
        const [old, now] = [await before.read(name), await after.read(name)];
        const module = lora.modules.find((m) => name === `${hfName(m.layer, m.module)}.weight`);
        if (!module) {
          assert.deepEqual(now, old);
          continue;
        }
        const { rank, a, b } = foldAlpha(module);
        const rows = permuteRows(b, rank, base, module.module, 'toHf');
        const expected = toFloat32(old).map((w, at) => {
          const [o, i] = [Math.floor(at / inputs), at % inputs];
          let delta = 0;
          for (let r = 0; r < rank; r++) delta += rows[o * rank + r]! * a[r * inputs + i]!;
          return w + delta;
        });
        const rounded = toFloat32(fromFloat32(expected, now.shape, dtype));
        // A sum in another order may land on the other side of a tie.
        const step = { f32: 2 ** -22, f16: 2 ** -10, bf16: 2 ** -7 }[dtype];
        const values = toFloat32(now);
        assert.ok(values.every((x, i) => Math.abs(x - rounded[i]!) <= step * Math.abs(rounded[i]!) + 1e-7));
        assert.notDeepEqual(now.data, old.data);
      }
      assert.equal(readFileSync(join(out, 'config.json'), 'utf8'), '{"model_type": "llama"}');
      assert.equal(readFileSync(join(out, 'tokenizer.json'), 'utf8'), '{}');
      assert.equal(readFileSync(join(out, 'additional_chat_templates', 'tool.jinja'), 'utf8'), '{{ messages }}');
      assert.ok(existsSync(join(out, 'tokenizer.json')));
      assert.ok(!existsSync(join(out, 'modeling_evil.py')), 'code is not carried on');
    }
  });

  it('refuses a snapshot that was not fetched to its end, and a quantised folder, before anything is written', async () => {
    const from = await model('hf-broken', 'f32');
    symlinkSync(join(folder, 'gone'), join(from, 'tokenizer.model'));
    const out = join(folder, 'no-snapshot');
    await assert.rejects(mergeHf(from, base, lora, out), /tokenizer\.model: a link whose file is not there.*fetch/);
    assert.ok(!existsSync(out));
    const quantised = join(folder, 'hf-quantised');
    mkdirSync(quantised);
    const tensors = [...weights].map(([name]) => ({
      name,
      dtype: 'u8' as const,
      shape: [4, 1],
      data: new Uint8Array(4),
    }));
    await writeSafetensorsFolder(quantised, tensors);
    await assert.rejects(mergeHf(quantised, base, lora, out), /is u8 \[4, 1\].*before it was quantised/);
    assert.ok(!existsSync(out));
  });

  it('refuses a folder without the weight', async () => {
    const from = await model('hf-other', 'f32');
    const far = { ...lora, modules: [{ ...lora.modules[0]!, layer: 5 }] };
    await assert.rejects(mergeHf(from, base, far, join(folder, 'no')), /no weight model\.layers\.5\.self_attn\.q_proj/);
  });
});
