import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ggufBase } from '../adapters/base.js';
import { corrections, type Lora, type LoraModule } from '../adapters/lora.js';
import { readLora, writeAdapter, writeLora } from '../adapters/loraGguf.js';
import { mergeHf } from '../adapters/merge.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { hfBase } from '../adapters/peft/names.js';
import { readPeft, writePeft } from '../adapters/peft/peft.js';
import { Random } from '../base/random.js';
import { Engine } from '../engine/engine.js';
import { LlamaModel } from '../engine/llama.js';
import { u32 } from '../formats/gguf/values.js';
import { negativeLogLikelihood } from '../llama/likelihood.js';
import { batchInputs } from '../model/batch.js';
import { LayerGraph } from '../model/block.js';
import { byLayer, type ModuleFactors, PlacedLora } from '../model/factors.js';
import { linearShape, streamWidth } from '../model/hyperparameters.js';
import { eachLayer, Model } from '../model/model.js';
import { Walker } from '../model/walker.js';
import { convertModel } from '../models/convert/convertModel.js';
import { tinyAdapter } from '../testing/adapter.js';
import { familyVariants } from '../testing/familyVariants.js';
import { forwardNodes, sequenceLogits } from '../testing/forward.js';
import { meanKl } from '../testing/kl.js';
import { plainNll } from '../testing/plainNll.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyFolder } from '../testing/tinyFolder.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { assertSame, checkDifferences, draw, rounding, step, withExactGelu, withRig } from '../testing/trainRig.js';
import type { Part, RidgeExample } from '../train/ridge/examples.js';
import { fitRidge } from '../train/ridge/fitRidge.js';
import { Prefix } from '../train/ridge/teacher.js';
import type { RidgeEvent } from '../train/ridge/walk.js';
import { type LayerLinear, linearsAt, linearsOf } from './family.js';
import { layouts } from './index.js';

/** One suite over every model family: what holds for one must hold for all. Its members are listed in testing/familyVariants.ts. */

const folder = scratchFolder();
const reference = new Engine({ threads: 1, kernels: 'reference' });
const fast = new Engine({ threads: 1 });
/** Drawn anew for each member: what is added to the list changes nothing for the others. */
let random = new Random(23);
after(() => {
  reference[Symbol.dispose]();
  fast[Symbol.dispose]();
});
const tokens = (n: number) => Int32Array.from({ length: n }, () => 3 + random.below(250));
const normal = (n: number, scale: number) => Float32Array.from({ length: n }, () => scale * random.normal());
const maxDifference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

async function libllamaLogits(path: string, sequence: Int32Array, adapter?: string): Promise<Float32Array> {
  using model = await LlamaModel.load(path);
  const context = await model.context({ contextLength: 256, threads: 1 });
  if (adapter) context.setAdapters([{ adapter: await model.loadAdapter(adapter), scale: 1 }]);
  const logits = new Float32Array(sequence.length * model.vocabulary.size);
  await context.decode(sequence, 0, { wants: () => true, onLogits: (rows) => logits.set(rows) });
  return logits;
}

async function ourLogits(model: Model, sequence: Int32Array, modules: readonly ModuleFactors[] = []) {
  using workspace = model.engine.workspace(forwardNodes(model));
  const placed = byLayer(modules, model.hyper.layers).map((list) => new PlacedLora(model.engine, list));
  try {
    const lora = placed.map((layer) => layer.lora);
    return await sequenceLogits(model, workspace, sequence, lora);
  } finally {
    for (const layer of placed) layer[Symbol.dispose]();
  }
}

/** Random corrections of some linears of the layers from `first` on. */
function someModules(model: Model, parts: readonly LayerLinear[], first: number, size: number) {
  const { hyper } = model;
  const modules: ModuleFactors[] = [];
  for (let layer = first; layer < hyper.layers; layer++) {
    for (const module of parts.filter((part) => linearsAt(hyper, layer).includes(part))) {
      const [inputs, outputs] = linearShape(hyper, module, layer);
      const rank = 3;
      const a = normal(rank * inputs, 1 / Math.sqrt(inputs));
      modules.push({ layer, module, factors: { inputs, outputs, rank, a, b: normal(outputs * rank, size) } });
    }
  }
  return modules;
}

/** The residual streams after the last layer of sequences that all have `prefix` before them, read once; [streamWidth] a token. */
async function walkWithPrefix(model: Model, prefixTokens: Int32Array, sequences: readonly Int32Array[]) {
  using workspace = model.engine.workspace(forwardNodes(model));
  using prefix = await Prefix.create({ model, workspace, emit() {} }, prefixTokens);
  const walked = sequences.map((ids) => ({ tokens: ids, positions: Int32Array.of(0) }));
  const lengths = sequences.map((ids) => ids.length);
  const groups = [{ members: sequences.map((_, i) => i), length: Math.max(...lengths), lengths }];
  await using walker = await Walker.create(model, workspace, walked, { groups });
  await eachLayer(model, 0, async (layer) => {
    await prefix.advance(layer);
    const { g, x, tokens } = await walker.begin(workspace, 0);
    const inputs = batchInputs(g, groups[0]!, tokens, model.ropeFactors, prefix.keysValues);
    const out = g.output(new LayerGraph(g, model.hyper, layer).run(x, inputs));
    await g.compute();
    await walker.hidden.write(0, out.toFloat32());
  });
  return { states: (await walker.hidden.read(0)).slice(), length: groups[0]!.length };
}

async function walkAlone(model: Model, sequence: Int32Array): Promise<Float32Array> {
  using workspace = model.engine.workspace(forwardNodes(model));
  await using walker = await Walker.create(model, workspace, [{ tokens: sequence, positions: Int32Array.of(0) }]);
  await eachLayer(model, 0, async (layer) => {
    const { g, x, tokens } = await walker.begin(workspace, 0);
    const inputs = batchInputs(g, walker.batches[0]!.batch, tokens, model.ropeFactors);
    const out = g.output(new LayerGraph(g, model.hyper, layer).run(x, inputs));
    await g.compute();
    await walker.hidden.write(0, out.toFloat32());
  });
  return (await walker.hidden.read(0)).slice();
}

async function checkPrefix(model: Model, prefix: Int32Array, sequences: readonly Int32Array[]): Promise<void> {
  const width = streamWidth(model.hyper);
  const { states, length } = await walkWithPrefix(model, prefix, sequences);
  for (const [row, sequence] of sequences.entries()) {
    const whole = await walkAlone(model, Int32Array.from([...prefix, ...sequence]));
    const wanted = whole.subarray(prefix.length * width);
    const found = states.subarray(row * length * width, (row * length + sequence.length) * width);
    const size = Math.sqrt(wanted.reduce((sum, x) => sum + x * x, 0) / wanted.length);
    const difference = maxDifference(wanted, found);
    assert.ok(difference < 2e-4 * size, `sequence ${row} differs by ${difference}, streams of size ${size}`);
  }
}

/** Random sequences whose targets are what the model with `modules` finds likeliest. */
async function taughtExamples(model: Model, modules: readonly ModuleFactors[], count: number, part: Part) {
  const { vocabulary } = model.hyper;
  const examples: RidgeExample[] = [];
  for (let i = 0; i < count; i++) {
    const sequence = tokens(24);
    const positions = Int32Array.from({ length: 18 }, (_, k) => 5 + k);
    const logits = await ourLogits(model, sequence, modules);
    const likeliest = (position: number) => {
      const row = logits.subarray(position * vocabulary, (position + 1) * vocabulary);
      return row.reduce((best, x, token) => (x > row[best]! ? token : best), 0);
    };
    const walked = { tokens: sequence, positions };
    examples.push({ part, prefix: -1, student: walked, teacher: walked, targets: positions.map(likeliest) });
  }
  return examples;
}

async function meanNll(model: Model, examples: readonly RidgeExample[]): Promise<number> {
  let [sum, count] = [0, 0];
  for (const { student, targets } of examples) {
    const logits = await ourLogits(model, student.tokens);
    student.positions.forEach((position, i) => {
      const { vocabulary } = model.hyper;
      sum += negativeLogLikelihood(logits.subarray(position * vocabulary, (position + 1) * vocabulary), targets[i]!);
      count++;
    });
  }
  return sum / count;
}

for (const [index, { name, ...options }] of familyVariants.entries()) {
  describe(name, () => {
    before(() => {
      random = new Random(23, index);
    });
    const path = join(folder, `${index}.gguf`);
    const made = writeTinyModel(path, options);
    const withModel = async (engine: Engine, use: (model: Model) => Promise<void>) => {
      await made;
      await using model = await Model.open(engine, path);
      await use(model);
    };

    it('has the logits of libllama', async () => {
      await made;
      const sequence = tokens(70);
      const expected = await libllamaLogits(path, sequence);
      const size = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0) / expected.length);
      for (const [engine, limits] of [
        [reference, { kl: 1e-7, logits: 1e-4 }],
        [fast, { kl: 1e-5, logits: 2e-2 }],
      ] as const) {
        await withModel(engine, async (model) => {
          const found = await ourLogits(model, sequence);
          const kl = meanKl(expected, found, model.hyper.vocabulary);
          assert.ok(kl < limits.kl, `${engine.kernels} kernels: KL ${kl}`);
          const difference = maxDifference(expected, found);
          assert.ok(difference < limits.logits * size, `${engine.kernels}: ${difference}, logits of size ${size}`);
        });
      }
    });

    it('reads a prefix of keys and values as it reads the tokens again, in padded batches', () =>
      withModel(fast, (model) => checkPrefix(model, tokens(23), [tokens(14), tokens(13), tokens(6)])));

    it('has the gradients of finite differences through all layers', () =>
      withRig({ model: { ...options, embedding: 32, headDim: (options.headDim ?? 16) / 2 } }, async (rig) => {
        await withExactGelu(() => checkDifferences(rig, draw([24, 17]), {}, 2));
      }));

    it('trains the same with a shared opening, on the NLL of a plain pass', () =>
      withRig({ model: options }, async (rig) => {
        const sequences = draw([31, 22, 27], 12);
        const wanted = await step(rig, sequences);
        const plain = await plainNll(rig.model, sequences, rig.factors);
        assert.ok(maxDifference(plain, wanted.nll) < 1e-3, `differs by ${maxDifference(plain, wanted.nll)}`);
        for (const how of [{ opening: 12 }, { opening: 8 }]) {
          assertSame(await step(rig, sequences, how), wanted, rounding);
        }
      }));

    it('has an adapter do in libllama what it does in our graph, on every linear', () =>
      withModel(reference, async (model) => {
        const { hyper, gguf } = model;
        const modules = someModules(model, linearsOf(hyper.family), 0, 0.3);
        const file = join(folder, `${index}-adapter.gguf`);
        await writeAdapter(file, await tinyAdapter(gguf, modules));
        const read = corrections(await openAdapter(file, ggufBase(model)));
        const sequence = tokens(40);
        const expected = await libllamaLogits(path, sequence, file);
        const base = await ourLogits(model, sequence);
        const effect = meanKl(expected, base, hyper.vocabulary);
        assert.ok(effect > 1e-3, `the adapter changes the answers by ${effect} only`);
        for (const worn of [modules, read]) {
          const kl = meanKl(expected, await ourLogits(model, sequence, worn), hyper.vocabulary);
          assert.ok(kl < 1e-6 * Math.max(1, effect), `KL ${kl}, the adapter's effect ${effect}`);
        }
      }));

    it('has ridge follow a teacher whose corrections it can make, and predict what the teacher predicts', () =>
      withModel(fast, async (model) => {
        const { layers, vocabulary } = model.hyper;
        const first = layers - 2;
        const skill = someModules(model, ['attn_output', 'shortconv.out_proj', 'ffn_down'], first, 0.2);
        const train = await taughtExamples(model, skill, 40, 'train');
        const validation = await taughtExamples(model, skill, 10, 'validation');
        const settings = { rank: 16, lambdas: [1e-3], firstLayer: first, sweeps: 1, firstSweepLayer: layers - 1 };
        const problem = { examples: [...train, ...validation], prefixes: [], skill };
        const nlls: number[] = [];
        const emit = (event: RidgeEvent) => {
          if (event.type === 'sweep') nlls.push(event.nll.train!);
        };
        const fit = await fitRidge({ model, emit }, problem, settings);
        let [before, behind] = [0, 0];
        for (const { student } of validation) {
          const teacher = await ourLogits(model, student.tokens, skill);
          before += meanKl(teacher, await ourLogits(model, student.tokens), vocabulary);
          behind += meanKl(teacher, await ourLogits(model, student.tokens, fit.modules), vocabulary);
        }
        assert.ok(behind < 0.3 * before, `KL to the teacher ${behind}, without a correction ${before}`);
        const [base, student] = [await meanNll(model, validation), fit.nll.student.validation];
        assert.ok(student < base, `NLL ${student}, without a correction ${base}`);
      }));
  });
}

for (const [index, layout] of layouts.entries()) {
  const [name] = layout.huggingFace.classes;
  describe(`folders of ${name}`, () => {
    before(() => {
      random = new Random(23, familyVariants.length + index);
    });
    const at = (...parts: string[]) => join(folder, name!, ...parts);
    const made = writeTinyFolder(at('model'), { layout });
    const sequence = tokens(40);

    it('become a file that our graph and libllama read alike', async () => {
      await made;
      await convertModel(at('model'), at('model.gguf'), { type: 'f32' }).result;
      const expected = await libllamaLogits(at('model.gguf'), sequence);
      await using model = await Model.open(reference, at('model.gguf'));
      assert.equal(model.hyper.family.name, layout.name);
      const kl = meanKl(expected, await ourLogits(model, sequence), model.hyper.vocabulary);
      assert.ok(kl < 1e-7, `KL ${kl}`);
    });

    it('have adapters in PEFT and in GGUF that do the same, merged and beside the model', async () => {
      await made;
      const base = await hfBase(at('model'));
      const modules = [...Array(base.layers).keys()].flatMap((layer) =>
        linearsAt(base, layer).map((module, i): LoraModule => {
          const [inputs, outputs] = linearShape(base, module, layer);
          const rank = 2 + ((i + layer) % 3);
          const factors = { inputs, outputs, rank, a: normal(rank * inputs, 0.1), b: normal(outputs * rank, 0.2) };
          return { layer, module, factors, alpha: 2 * rank };
        }),
      );
      const lora: Lora = { path: 'some', architecture: layout.name, modules, notes: new Map() };
      await writeLora(at('lora.gguf'), lora);
      await mergeHf(at('model'), base, lora, at('merged'));
      await convertModel(at('model'), at('base.gguf'), { type: 'f32' }).result;
      await convertModel(at('merged'), at('merged.gguf'), { type: 'f32' }).result;
      const beside = await libllamaLogits(at('base.gguf'), sequence, at('lora.gguf'));
      const bare = await libllamaLogits(at('base.gguf'), sequence);
      const merged = await libllamaLogits(at('merged.gguf'), sequence);
      const vocabulary = merged.length / sequence.length;
      const [effect, kl] = [meanKl(beside, bare, vocabulary), meanKl(beside, merged, vocabulary)];
      assert.ok(effect > 1e-3 && kl < 1e-6 * Math.max(1, effect), `KL ${kl}, the adapter's effect ${effect}`);

      await writePeft(at('peft'), lora, base);
      const read = await readPeft(at('peft'), base);
      await writeLora(at('again.gguf'), read);
      const again = await libllamaLogits(at('base.gguf'), sequence, at('again.gguf'));
      assert.ok(meanKl(beside, again, vocabulary) < 1e-9 * Math.max(1, effect), 'by way of PEFT');
      // From there on every way keeps every bit.
      await writePeft(at('peft2'), await readLora(at('again.gguf'), base), base);
      const bytes = (folder: string) => readFileSync(at(folder, 'adapter_model.safetensors'));
      assert.ok(bytes('peft2').equals(bytes('peft')));
    });
  });
}

describe('a prefix that is read in several pieces', () => {
  before(() => {
    random = new Random(23);
  });
  it('is seen through windows across their borders', async () => {
    const path = join(folder, 'long.gguf');
    const size = { embedding: 32, heads: 2, kvHeads: 1, headDim: 16, feedForward: 32 };
    await writeTinyModel(path, { ...size, family: 'gemma3', layers: 2, window: 40, period: 2 });
    await using model = await Model.open(fast, path);
    // Pieces have 1,024 tokens; the first window after the border lies in both.
    await checkPrefix(model, tokens(1040), [tokens(12), tokens(30)]);
  });

  it('is attended to by layers that share keys', async () => {
    const path = join(folder, 'long-shared.gguf');
    const size = { embedding: 32, heads: 2, kvHeads: 1, headDim: 16, feedForward: 32, window: 40 };
    const differing = { localHeadDim: 8, sharedKeys: 2, perLayer: 8 };
    const metadata = { 'gemma4.context_length': u32(2048) };
    await writeTinyModel(path, { ...size, family: 'gemma4', layers: 4, differing, metadata });
    await using model = await Model.open(fast, path);
    await checkPrefix(model, tokens(1040), [tokens(12), tokens(30)]);
  });

  it('is what delta nets go on from', async () => {
    const path = join(folder, 'long-delta.gguf');
    const size = { embedding: 32, heads: 2, kvHeads: 1, headDim: 16, feedForward: 32 };
    await writeTinyModel(path, {
      ...size,
      family: 'qwen35',
      layers: 2,
      metadata: { 'qwen35.context_length': u32(2048) },
    });
    await using model = await Model.open(fast, path);
    await checkPrefix(model, tokens(1040), [tokens(12), tokens(2)]);
  });
});
