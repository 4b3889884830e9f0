import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { LoamError, UnsupportedError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { Engine } from '../engine/engine.js';
import { LlamaModel } from '../engine/llama.js';
import { quantizeRows } from '../engine/rows.js';
import { tensorTypes } from '../engine/tensorTypes.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { f32, type GgufValue, str } from '../formats/gguf/values.js';
import { writeGguf } from '../formats/gguf/writeGguf.js';
import { negativeLogLikelihood } from '../llama/likelihood.js';
import { measureNll } from '../llama/measureNll.js';
import { byLayer, type ModuleFactors, PlacedLora } from '../model/factors.js';
import { Model } from '../model/model.js';
import { tinyAdapter } from '../testing/adapter.js';
import { forwardNodes, sequenceLogits } from '../testing/forward.js';
import { u32s } from '../testing/ggufValues.js';
import { meanKl } from '../testing/kl.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { type GgufBase, ggufBase } from './base.js';
import { fingerprints } from './fingerprint.js';
import { corrections } from './lora.js';
import { writeAdapter } from './loraGguf.js';
import { openAdapter } from './openAdapter.js';

const folder = scratchFolder();
// libllama's own kernels and f16 keys and values, so that only the adapter can differ.
const engine = new Engine({ threads: 2, kernels: 'reference' });
after(() => engine[Symbol.dispose]());
const random = new Random(5);
const normal = (n: number, scale: number) => new Float32Array(n).map(() => scale * random.normal());
const tokens = Int32Array.from({ length: 30 }, (_, i) => 3 + ((i * 7919) % 250));

const basePath = await writeTinyModel(join(folder, 'base.gguf'), { seed: 1 });
const otherPath = await writeTinyModel(join(folder, 'other.gguf'), { seed: 2 });

/** Random corrections of two linears, with different ranks. */
function someModules(): ModuleFactors[] {
  return [
    {
      layer: 0,
      module: 'ffn_down',
      factors: { inputs: 96, outputs: 64, rank: 5, a: normal(5 * 96, 0.5), b: normal(64 * 5, 0.5) },
    },
    {
      layer: 1,
      module: 'attn_output',
      factors: { inputs: 64, outputs: 64, rank: 2, a: normal(2 * 64, 0.5), b: normal(64 * 2, 0.5) },
    },
  ];
}

async function write(name: string, modules: ModuleFactors[], alpha = 16): Promise<string> {
  const path = join(folder, name);
  const about = { recipe: { rank: 5 }, metrics: { nll: { base: 2, adapted: 1 } } };
  await writeAdapter(path, await tinyAdapter(basePath, modules, { alpha, ...about }));
  return path;
}

async function withBase<T>(path: string, use: (base: GgufBase, model: Model) => Promise<T>): Promise<T> {
  await using model = await Model.open(engine, path);
  return await use(ggufBase(model), model);
}

describe('adapter files', () => {
  it('keep factors, ranks and what they are for', async () => {
    const modules = someModules();
    const path = await write('a.gguf', modules);
    const read = await withBase(basePath, (base) => openAdapter(path, base));
    assert.equal(read.modules.length, 2);
    assert.deepEqual(read.recipe, { rank: 5 });
    assert.equal(read.base.name, 'tiny');
    for (const [i, { layer, module, factors }] of corrections(read).entries()) {
      const original = modules[i]!;
      assert.deepEqual([layer, module, factors.rank], [original.layer, original.module, original.factors.rank]);
      // B·A is what an adapter is; how its scale is shared between A and B is not.
      const product = (f: typeof factors, o: number, k: number) => {
        let sum = 0;
        for (let r = 0; r < f.rank; r++) sum += f.b[o * f.rank + r]! * f.a[r * f.inputs + k]!;
        return sum;
      };
      for (const [o, k] of [
        [0, 0],
        [13, 7],
        [63, 63],
      ] as const) {
        assert.ok(Math.abs(product(factors, o, k) - product(original.factors, o, k)) < 1e-6);
      }
    }
  });

  it('do in stock libllama what they do in our own graph, whatever alpha is', async () => {
    const modules = someModules();
    await withBase(basePath, async (_, model) => {
      using workspace = engine.workspace(forwardNodes(model));
      const placed = byLayer(modules, 2).map((list) => new PlacedLora(engine, list));
      const ours = await sequenceLogits(
        model,
        workspace,
        tokens,
        placed.map((p) => p.lora),
      );
      for (const p of placed) p[Symbol.dispose]();
      const base = await sequenceLogits(model, workspace, tokens);
      for (const alpha of [1, 16, 64]) {
        const path = await write(`alpha${alpha}.gguf`, modules, alpha);
        using llama = await LlamaModel.load(basePath);
        const context = await llama.context({ contextLength: 64, threads: 2 });
        context.setAdapters([{ adapter: await llama.loadAdapter(path), scale: 1 }]);
        const theirs = new Float32Array(ours.length);
        await context.decode(tokens, 0, { wants: () => true, onLogits: (rows) => theirs.set(rows) });
        const v = model.hyper.vocabulary;
        assert.ok(meanKl(theirs, ours, v) < 1e-7);
        assert.ok(meanKl(base, ours, v) > 1e-2, 'the corrections are large enough to tell');
      }
    });
  });

  it('refuse factors that are not finite, before writing', async () => {
    const modules = someModules();
    modules[0]!.factors.a[3] = Number.NaN;
    await assert.rejects(write('nan.gguf', modules), /not finite.*/);
    await assert.rejects(readFile(join(folder, 'nan.gguf')), /ENOENT/);
  });

  it('the fingerprint of a base survives quantisation and tells models apart', async () => {
    const quantised = await writeTinyModel(join(folder, 'q8.gguf'), { seed: 1, type: 'q8_0' });
    const [a, b, c] = await Promise.all(
      [basePath, quantised, otherPath].map(async (p) => (await fingerprints(await readGguf(p))).whole),
    );
    // The tiny model's matrices are drawn before its norms in the same order, so both files hold the same norms.
    assert.equal(a, b);
    assert.notEqual(a, c);
  });
});

describe('adapters from outside are refused before native code sees them', () => {
  type Tensor = { name: string; shape: number[]; data: Float32Array };
  const good = (): Tensor[] => [
    { name: 'blk.0.ffn_down.weight.lora_a', shape: [96, 4], data: normal(96 * 4, 1) },
    { name: 'blk.0.ffn_down.weight.lora_b', shape: [4, 64], data: normal(4 * 64, 1) },
  ];
  let n = 0;
  async function foreign(tensors: Tensor[], metadata: Record<string, GgufValue> = {}): Promise<string> {
    const path = join(folder, `foreign${n++}.gguf`);
    await writeGguf(path, {
      metadata: Object.entries({
        'general.type': str('adapter'),
        'general.architecture': str('llama'),
        'adapter.type': str('lora'),
        'adapter.lora.alpha': f32(8),
        ...metadata,
      }),
      tensors: tensors.map(({ name, shape, data }) => ({
        name,
        type: tensorTypes.f32,
        shape,
        data: new Uint8Array(data.buffer),
      })),
    });
    return path;
  }
  const read = (path: string, base = basePath) => withBase(base, (b) => openAdapter(path, b));

  it('a sound one of another tool is read', async () => {
    const { modules } = await read(await foreign(good()));
    assert.equal(modules[0]!.factors.rank, 4);
  });

  const cases: [string, () => Promise<string>, RegExp][] = [
    ['another base model', () => write('mine.gguf', someModules()), /made for another base model \(tiny\)/],
    ['a base model instead', async () => basePath, /not an adapter/],
    ['another architecture', () => foreign(good(), { 'general.architecture': str('qwen2') }), /architecture "qwen2"/],
    ['an alpha of NaN', () => foreign(good(), { 'adapter.lora.alpha': f32(Number.NaN) }), /alpha is NaN/],
    ['no tensors', () => foreign([]), /no lora_a/],
    ['a missing partner', () => foreign(good().slice(0, 1)), /has no lora_b beside it/],
    [
      'ranks that differ',
      () => foreign([good()[0]!, { ...good()[1]!, shape: [5, 64], data: normal(320, 1) }]),
      /rank 4 in lora_a and 5 in lora_b/,
    ],
    [
      'a wrong shape',
      () => foreign(good().map((t) => ({ ...t, name: t.name.replace('ffn_down', 'ffn_up') }))),
      /ffn_up.weight.lora_a is \[96, 4\], expected \[64, rank\]/,
    ],
    [
      'a layer that is not there',
      () => foreign(good().map((t) => ({ ...t, name: t.name.replace('blk.0', 'blk.7') }))),
      /corrects nothing that the base model has/,
    ],
    [
      'an infinity',
      () =>
        foreign(good().map((t) => ({ ...t, data: t.data.map((x, i) => (i === 7 ? Number.POSITIVE_INFINITY : x)) }))),
      /not finite/,
    ],
  ];
  for (const [name, make, pattern] of cases) {
    it(name, async () => {
      const path = await make();
      await assert.rejects(read(path, name === 'another base model' ? otherPath : basePath), (error) => {
        assert.ok(error instanceof LoamError);
        assert.match(error.message, pattern);
        return true;
      });
    });
  }

  it('a truncated file, at every length', async () => {
    const whole = await readFile(await foreign(good()));
    const path = join(folder, 'cut.gguf');
    for (let length = 0; length < whole.length - 32; length += 97) {
      await writeFile(path, whole.subarray(0, length));
      await assert.rejects(read(path), LoamError);
    }
  });

  it('one for the embeddings, one that is activated by tokens', async () => {
    const rename = (t: Tensor) => ({ ...t, name: t.name.replace('blk.0.ffn_down', 'token_embd') });
    await assert.rejects(read(await foreign(good().map(rename))), /embeddings or the output head/);
    const activated = await foreign(good(), { 'adapter.alora.invocation_tokens': u32s([1, 2]) });
    await assert.rejects(read(activated), UnsupportedError);
  });
});

describe('adapters of other tools', () => {
  const a = normal(4 * 96, 1);
  const b = normal(4 * 64, 1);
  async function stored(type: 'f16' | 'bf16' | 'q8_0', metadata: [string, GgufValue][], extra = false) {
    const path = join(folder, `${type}${metadata.length}.gguf`);
    const name = 'blk.0.ffn_down.weight';
    await writeGguf(path, {
      metadata: [
        ['general.type', str('adapter')],
        ['general.architecture', str('llama')],
        ['adapter.type', str('lora')],
        ...metadata,
      ],
      tensors: [
        { name: `${name}.lora_a`, type: tensorTypes[type], shape: [96, 4], data: quantizeRows(type, a, 96) },
        // A row of rank 4 is no whole block of a quantised type.
        { name: `${name}.lora_b`, type: tensorTypes.f32, shape: [4, 64], data: quantizeRows('f32', b, 4) },
        ...(extra
          ? [{ name: 'blk.0.ffn_norm.weight', type: tensorTypes.f32, shape: [64], data: new Uint8Array(256) }]
          : []),
      ],
    });
    return await withBase(basePath, async (base) => corrections(await openAdapter(path, base))[0]!.factors);
  }

  it('are read in halves and quantised, as libllama reads them', async () => {
    for (const [type, step] of [
      ['f16', 2 ** -11],
      ['bf16', 2 ** -8],
      ['q8_0', 1 / 127],
    ] as const) {
      const factors = await stored(type, [['adapter.lora.alpha', f32(4)]], true);
      const largest = Math.max(...a.map(Math.abs));
      factors.a.forEach((x, i) => {
        if (Math.abs(x - a[i]!) > step * largest) assert.fail(`${type}: ${x} for ${a[i]}`);
      });
      assert.deepEqual(factors.b, b);
    }
  });

  it('without alpha have no scale', async () => {
    assert.deepEqual((await stored('f16', [])).b, b);
    const scaled = await stored('f16', [['adapter.lora.alpha', f32(2)]]);
    assert.deepEqual(
      scaled.b,
      b.map((x) => x / 2),
    );
  });
});

describe('measured NLL', () => {
  it('of sequences that begin alike is the mean of what each has alone', async () => {
    const path = await write('alike.gguf', someModules());
    const changed = tokens.map((token, i) => (i < 12 ? token : (token + 7) % 200));
    const all = [
      { tokens, targets: Int32Array.of(9, 20, 29) },
      { tokens: changed, targets: Int32Array.of(13, 14) },
      // The same again, and scored from within what it shares with the one before; then a beginning of it.
      { tokens: changed, targets: Int32Array.of(1, 25) },
      { tokens: changed.slice(0, 8), targets: Int32Array.of(7) },
      { tokens, targets: Int32Array.of(3) },
    ];
    const together = await measureNll(basePath, path, all, { threads: 1 });
    const sum = { base: 0, adapted: 0 };
    for (const one of all) {
      const { tokens: n, base, adapted } = await measureNll(basePath, path, [one], { threads: 1 });
      sum.base += n * base;
      sum.adapted += n * adapted!;
    }
    assert.equal(together.tokens, 9);
    assert.ok(Math.abs(together.base - sum.base / 9) < 1e-3, `${together.base}, ${sum.base / 9}`);
    assert.ok(Math.abs(together.adapted! - sum.adapted / 9) < 1e-3);
  });

  it('is -log softmax, without overflow', () => {
    assert.ok(Math.abs(negativeLogLikelihood(Float32Array.of(0, 0, 0, 0), 2) - Math.log(4)) < 1e-12);
    assert.ok(Math.abs(negativeLogLikelihood(Float32Array.of(1000, 0), 1) - 1000) < 1e-9);
    assert.equal(negativeLogLikelihood(Float32Array.of(0, -Infinity), 0), 0);
  });

  it('of base and adapter equals that of the logits of our own graph', async () => {
    const modules = someModules();
    const path = await write('nll.gguf', modules);
    const targets = Int32Array.of(5, 6, 7, 20, 29);
    const measured = await measureNll(basePath, path, [{ tokens, targets }], { threads: 2 });
    assert.equal(measured.tokens, 5);
    await withBase(basePath, async (_, model) => {
      using workspace = engine.workspace(forwardNodes(model));
      const placed = byLayer(modules, 2).map((list) => new PlacedLora(engine, list));
      const v = model.hyper.vocabulary;
      const mean = async (lora: PlacedLora[]) => {
        const logits = await sequenceLogits(
          model,
          workspace,
          tokens,
          lora.map((p) => p.lora),
        );
        let sum = 0;
        for (const t of targets) sum += negativeLogLikelihood(logits.subarray((t - 1) * v, t * v), tokens[t]!);
        return sum / targets.length;
      };
      // libllama keeps keys and values in f16.
      assert.ok(Math.abs((await mean([])) - measured.base) < 2e-3);
      assert.ok(Math.abs((await mean(placed)) - measured.adapted!) < 2e-3);
      for (const p of placed) p[Symbol.dispose]();
    });
  });
});
