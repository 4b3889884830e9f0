import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { foldAlpha, type Lora } from '../adapters/lora.js';
import { readLora, writeLora } from '../adapters/loraGguf.js';
import { mergeHf } from '../adapters/merge.js';
import { hfBase, modulesOf } from '../adapters/peft/names.js';
import { readPeft, writePeft } from '../adapters/peft/peft.js';
import { Random } from '../base/random.js';
import { Engine } from '../engine/engine.js';
import { LlamaModel } from '../engine/llama.js';
import { toFloat32 } from '../formats/arrays.js';
import { readNpy } from '../formats/npy.js';
import { byLayer, PlacedLora } from '../model/factors.js';
import { linearShape } from '../model/hyperparameters.js';
import { Model } from '../model/model.js';
import { peftMembers } from '../testing/familyVariants.js';
import { forwardNodes, sequenceLogits } from '../testing/forward.js';
import { findReference } from '../testing/pythonFolders.js';
import { makeReference, runPeft } from '../testing/pythonPeft.js';
import { scratchFolder } from '../testing/scratch.js';
import { layerLinears, linearsAt, mixerAt } from './family.js';
import { layouts } from './index.js';

/** Adapters of PEFT in libllama and in Loam's own graph, and Loam's adapters in PEFT: the same logits, for each family. */

const reference = findReference('peft');
const skip = typeof reference === 'string' && reference;

const folder = scratchFolder();
const tokens = Int32Array.from({ length: 24 }, (_, i) => 3 + ((i * 7919) % 250));
const vocabulary = 265;

const npy = async (...path: string[]) => toFloat32(await readNpy(join(folder, ...path)));
const largest = (x: Float32Array, y?: Float32Array) =>
  x.reduce((max, v, i) => Math.max(max, Math.abs(v - (y?.[i] ?? 0))), 0);

async function libllama(model: string, adapter?: string): Promise<Float32Array> {
  using llama = await LlamaModel.load(model);
  const context = await llama.context({ contextLength: 64, threads: 2 });
  if (adapter) context.setAdapters([{ adapter: await llama.loadAdapter(adapter), scale: 1 }]);
  const out = new Float32Array(tokens.length * vocabulary);
  await context.decode(tokens, 0, {
    wants: () => true,
    onLogits: (logits, indices) =>
      indices.forEach((at, row) => {
        out.set(logits.subarray(row * vocabulary, (row + 1) * vocabulary), at * vocabulary);
      }),
  });
  return out;
}

/** An adapter as the ridge leaves it, some linears of some layers with ranks of their own: as GGUF, for PEFT, and merged. */
async function writeLoamAdapter(at: string): Promise<void> {
  const base = await hfBase(join(at, 'model'));
  const random = new Random(11);
  const values = (n: number) => new Float32Array(n).map(() => 0.12 * random.normal());
  const upper = [...new Set([linearsAt(base, 1)[1]!, mixerAt(base, 1), 'ffn_up'] as const)];
  const adapted = [
    [0, linearsAt(base, 0)[0]!, 3],
    [0, 'ffn_down', 5],
    ...upper.map((module, i) => [1, module, 2 + i] as const),
  ] as const;
  const modules = adapted.map(([layer, module, rank]) => {
    const [inputs, outputs] = linearShape(base, module, layer);
    const factors = { inputs, outputs, rank, a: values(rank * inputs), b: values(rank * outputs) };
    return { layer, module, alpha: 16, factors };
  });
  const lora: Lora = { path: 'loam', architecture: base.family.name, modules, notes: new Map() };
  await writeLora(join(at, 'loam.gguf'), lora);
  await writePeft(join(at, 'loam'), lora, base);
  await mergeHf(join(at, 'model'), base, lora, join(at, 'merged'));
}

describe('against transformers, PEFT and the converters of llama.cpp', { skip }, () => {
  const engine = new Engine({ threads: 2 });
  after(() => engine[Symbol.dispose]());
  before(async () => {
    if (typeof reference === 'string') return;
    const { python, source } = reference;
    const modules = layouts.flatMap((family) =>
      family.huggingFace.classes.map((name) => [name, modulesOf(family)] as const),
    );
    const known = JSON.stringify(Object.fromEntries(modules));
    await python.run(makeReference, folder, source, JSON.stringify(peftMembers), known);
    for (const { name } of peftMembers) await writeLoamAdapter(join(folder, name));
    await python.run(runPeft, folder, ...peftMembers.map(({ name }) => name));
  });

  for (const { name: family, unconverted } of peftMembers) {
    const at = (...path: string[]) => join(folder, family, ...path);

    it(`${family}: adapters of PEFT give the same logits in libllama, with ranks and alphas of their own too`, async () => {
      const base = await hfBase(at('model'));
      const plain = await npy(family, 'base.npy');
      // libllama keeps keys and values in f16: what the bare models differ by is the yardstick.
      const apart = largest(await libllama(at('model.gguf')), plain);
      assert.ok(apart < 5e-3 * largest(plain), `the bare models differ by ${apart}`);
      for (const name of ['plain', 'mixed']) {
        await writeLora(at(`${name}.gguf`), await readPeft(at(name), base));
        const expected = await npy(family, `${name}.npy`);
        const got = await libllama(at('model.gguf'), at(`${name}.gguf`));
        assert.ok(largest(expected, plain) > 50 * apart, 'the adapter does something');
        assert.ok(
          largest(got, expected) < Math.max(5e-3 * largest(expected), 3 * apart),
          `${name}: ${largest(got, expected)}, bare ${apart}`,
        );
      }
    });

    it(`${family}: the GGUF has the factors that llama.cpp's own converter writes`, {
      skip: unconverted,
    }, async () => {
      const base = await hfBase(at('model'));
      const ours = await readPeft(at('plain'), base);
      const theirs = await readLora(at('theirs.gguf'), base);
      const sorted = (lora: Lora) =>
        [...lora.modules].sort(
          (x, y) => x.layer - y.layer || layerLinears.indexOf(x.module) - layerLinears.indexOf(y.module),
        );
      assert.deepEqual(sorted(theirs), sorted(ours));
    });

    it(`${family}: an adapter of Loam, and one merged into the model, give PEFT's logits`, async () => {
      const beside = await npy(family, 'loam.npy');
      const plain = await npy(family, 'base.npy');
      assert.ok(largest(beside, plain) > 0.05 * largest(plain), 'the adapter does something');
      assert.ok(largest(await npy(family, 'merged.npy'), beside) < 1e-4 * largest(beside));
      assert.ok(largest(await libllama(at('model.gguf'), at('loam.gguf')), beside) < 5e-3 * largest(beside));
    });
  }

  for (const family of ['llama', 'mistral3 that sees'])
    it(`${family}: Loam's own graph and PEFT agree to 1e-3`, async () => {
      const at = (...path: string[]) => join(folder, family, ...path);
      const base = await hfBase(at('model'));
      await using model = await Model.open(engine, at('model.gguf'));
      using workspace = engine.workspace(forwardNodes(model));
      const logits = async (lora?: Lora) => {
        const folded = (lora?.modules ?? []).map((m) => ({ ...m, factors: foldAlpha(m) }));
        const placed = byLayer(folded, 2).map((list) => new PlacedLora(engine, list));
        const out = (
          await sequenceLogits(
            model,
            workspace,
            tokens,
            placed.map((p) => p.lora),
          )
        ).slice();
        for (const p of placed) p[Symbol.dispose]();
        return out;
      };
      for (const name of ['plain', 'mixed']) {
        const got = await logits(await readPeft(at(name), base));
        assert.ok(largest(got, await npy(family, `${name}.npy`)) < 1e-3);
      }
      const loam = await readLora(at('loam.gguf'), base);
      assert.ok(largest(await logits(loam), await npy(family, 'loam.npy')) < 1e-3);
    });
});
