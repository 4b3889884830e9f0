import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { LoamError, UnsupportedError } from '../base/errors.js';
import { Engine } from '../engine/engine.js';
import { LlamaModel } from '../engine/llama.js';
import type { TensorTypeName } from '../engine/tensorTypes.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { bool, f32, i32s, str, u32 } from '../formats/gguf/values.js';
import { forward, forwardNodes, sequenceLogits } from '../testing/forward.js';
import { meanKl } from '../testing/kl.js';
import { scratchFolder } from '../testing/scratch.js';
import { type TinyModelOptions, writeTinyModel } from '../testing/tinyModel.js';
import { batchInputs, causalMask, groupSequences, lazyMask, paddedTokens } from './batch.js';
import { LayerGraph } from './block.js';
import { PlacedLora } from './factors.js';
import { readHyperparameters } from './hyperparameters.js';
import { Model } from './model.js';

const folder = scratchFolder();
const reference = new Engine({ threads: 2, kernels: 'reference' });
const fast = new Engine({ threads: 2 });
after(() => {
  reference[Symbol.dispose]();
  fast[Symbol.dispose]();
});

let files = 0;
const tiny = (options: TinyModelOptions) => writeTinyModel(join(folder, `${files++}.gguf`), options);
const tokens = (n: number, seed = 3) =>
  Int32Array.from({ length: n }, (_, i) => 3 + ((i * 7919 + seed * 104729) % 250));

async function libllamaLogits(path: string, sequence: Int32Array): Promise<Float32Array> {
  using model = await LlamaModel.load(path);
  const context = await model.context({ contextLength: 256, threads: 2 });
  const logits = new Float32Array(sequence.length * model.vocabulary.size);
  await context.decode(sequence, 0, { wants: () => true, onLogits: (rows) => logits.set(rows) });
  return logits;
}

const variants: [string, TinyModelOptions][] = [
  ['grouped-query attention, tied embeddings', {}],
  ['as many key as query heads, own output matrix', { kvHeads: 4, tied: false }],
  ['one key head, a head width unlike embedding / heads', { kvHeads: 1, headDim: 32 }],
  ['biases', { biases: true }],
  ["Llama 3's frequency factors", { ropeFactors: true }],
  [
    'linear RoPE scaling',
    { metadata: { 'llama.rope.scaling.type': str('linear'), 'llama.rope.scaling.factor': f32(2) } },
  ],
  [
    'YaRN scaling',
    {
      metadata: {
        'llama.rope.scaling.type': str('yarn'),
        'llama.rope.scaling.factor': f32(4),
        'llama.rope.scaling.original_context_length': u32(32),
      },
    },
  ],
];

describe('the forward graph computes what libllama computes', () => {
  for (const [name, options] of variants) {
    it(name, async () => {
      const path = await tiny(options);
      const sequence = tokens(70);
      const expected = await libllamaLogits(path, sequence);
      await using model = await Model.open(reference, path);
      using workspace = reference.workspace(forwardNodes(model));
      const found = await sequenceLogits(model, workspace, sequence);
      const kl = meanKl(expected, found, model.hyper.vocabulary);
      assert.ok(kl < 1e-7, `KL ${kl}`);
    });
  }

  // 256 inputs, so that the k-quants' blocks fit.
  const size = { embedding: 256, heads: 4, kvHeads: 2, headDim: 64, feedForward: 512 };
  const types: TensorTypeName[] = [
    'f16',
    'bf16',
    'q4_0',
    'q4_1',
    'q5_0',
    'q5_1',
    'q8_0',
    'q2_k',
    'q3_k',
    'q4_k',
    'q5_k',
    'q6_k',
    'iq4_nl',
    'iq4_xs',
  ];
  for (const type of types) {
    it(`weights of type ${type}`, async () => {
      const path = await tiny({ ...size, type });
      const sequence = tokens(40);
      const expected = await libllamaLogits(path, sequence);
      const kl = async (engine: Engine) => {
        await using model = await Model.open(engine, path);
        using workspace = engine.workspace(forwardNodes(model));
        return meanKl(expected, await sequenceLogits(model, workspace, sequence), model.hyper.vocabulary);
      };
      // With libllama's own kernels the roundings of quantised activations agree too.
      const same = await kl(reference);
      assert.ok(same < 1e-7, `reference kernels: KL ${same}`);
      // The fast kernels round activations independently; both are equally far from exact arithmetic.
      const other = await kl(fast);
      assert.ok(other < 5e-3, `fast kernels: KL ${other}`);
    });
  }
});

describe('masks', () => {
  for (const [length, sequences, prefix, window] of [
    [7, 1, 0, 3],
    [5, 3, 0, 2],
    [4, 2, 6, 3],
    [4, 2, 6, 8],
    [6, 2, 3, 100],
    [6, 2, 3, 1],
  ] as const) {
    it(`${sequences} sequences of ${length} after ${prefix}, a window of ${window}`, () => {
      const own = length * sequences;
      const mask = causalMask(length, sequences, prefix, window);
      const whole = causalMask(length, sequences, prefix);
      for (let query = 0; query < own; query++) {
        for (let key = 0; key < prefix + own; key++) {
          const token = key - prefix;
          const sameSequence = token < 0 || Math.floor(token / length) === Math.floor(query / length);
          const position = token < 0 ? key : prefix + (token % length);
          const distance = prefix + (query % length) - position;
          const at = query * (prefix + own) + key;
          assert.equal(
            mask[at] === 0,
            sameSequence && distance >= 0 && distance < window,
            `query ${query}, key ${key}`,
          );
          assert.equal(whole[at] === 0, sameSequence && distance >= 0);
        }
      }
    });
  }

  it('are made when they are asked for, and a window that hides nothing is none', () => {
    using workspace = fast.workspace(64);
    const mask = lazyMask(workspace.begin(), 5, 2, 3);
    assert.equal(mask(), mask());
    assert.equal(mask(8), mask());
    assert.notEqual(mask(7), mask());
    assert.equal(mask(7), mask(7));
    assert.deepEqual(mask(2).ne, [13, 10, 1, 1]);
  });
});

describe('batches', () => {
  it('padding and neighbours change no result', async () => {
    await using model = await Model.open(fast, await tiny({}));
    using workspace = fast.workspace(forwardNodes(model));
    const sequences = [tokens(20, 1), tokens(19, 2), tokens(18, 3), tokens(5, 4)];
    const layers = await model.allLayers();
    using head = await model.head();
    const groups = groupSequences(sequences.map((s) => s.length));
    assert.deepEqual(
      groups.map((b) => b.members),
      [[0, 1, 2], [3]],
    );
    for (const batch of groups) {
      const g = workspace.begin();
      const logits = g.output(head.logits(g, forward(g, model, layers, batch, sequences)));
      await g.compute();
      const all = logits.toFloat32();
      const v = model.hyper.vocabulary;
      for (const [row, member] of batch.members.entries()) {
        const alone = await sequenceLogits(model, workspace, sequences[member]!);
        const from = row * batch.length * v;
        assert.ok(meanKl(alone, all.slice(from, from + alone.length), v) < 1e-9);
      }
    }
    for (const layer of layers) layer[Symbol.dispose]();
  });

  it('a shared prefix of keys and values equals reading the prefix again', async () => {
    await using model = await Model.open(fast, await tiny({ layers: 1 }));
    using workspace = fast.workspace(forwardNodes(model));
    using layer = await model.layer(0);
    const [prefix, own] = [tokens(30, 1), [tokens(9, 2), tokens(8, 3)]];
    const { headDim, kvHeads } = model.hyper;
    using buffer = fast.buffer(2);
    const keys = buffer.tensor('f32', [headDim, prefix.length, kvHeads]);
    const values = buffer.tensor('f32', [headDim, prefix.length, kvHeads]);
    buffer.allocate();
    const one = (n: number) => ({ members: [0], length: n, lengths: [n] });
    const first = workspace.begin();
    const ids = first.input('i32', [prefix.length], prefix);
    const x = model.embed(first, ids);
    const inputs = batchInputs(first, one(prefix.length), ids, null);
    const read = new LayerGraph(first, model.hyper, layer).attend(x, inputs).carried();
    first.run(first.copy(read.keys, keys));
    first.run(first.copy(read.values, values));
    await first.compute();

    const batch = groupSequences(own.map((s) => s.length))[0]!;
    const g = workspace.begin();
    const padded = paddedTokens(batch, (member) => own[member]!);
    const several = g.input('i32', [padded.length], padded);
    const shared = g.output(
      new LayerGraph(g, model.hyper, layer).run(
        model.embed(g, several),
        batchInputs(g, batch, several, null, { keys, values }),
      ),
    );
    await g.compute();
    const together = shared.toFloat32();

    for (const [row, sequence] of own.entries()) {
      const whole = Int32Array.from([...prefix, ...sequence]);
      const again = workspace.begin();
      const tokens = again.input('i32', [whole.length], whole);
      const y = again.output(
        new LayerGraph(again, model.hyper, layer).run(
          model.embed(again, tokens),
          batchInputs(again, one(whole.length), tokens, null),
        ),
      );
      await again.compute();
      const d = model.hyper.embedding;
      const expected = y.toFloat32().slice(prefix.length * d);
      const found = together.slice(row * batch.length * d, row * batch.length * d + expected.length);
      expected.forEach((value, i) => {
        assert.ok(Math.abs(value - found[i]!) < 1e-4, `${row}, ${i}: ${found[i]} instead of ${value}`);
      });
    }
  });
});

describe('LoRA in the graph', () => {
  it('with B = 0 changes nothing, and otherwise equals the merged weight', async () => {
    const path = await tiny({ layers: 1 });
    await using model = await Model.open(fast, path);
    using workspace = fast.workspace(forwardNodes(model));
    const sequence = tokens(12);
    const base = await sequenceLogits(model, workspace, sequence);
    const [inputs, outputs, rank] = [model.hyper.feedForward, model.hyper.embedding, 3];
    const a = new Float32Array(rank * inputs).map((_, i) => Math.sin(i));
    const b = new Float32Array(outputs * rank).map((_, i) => 0.1 * Math.cos(i));
    const lora = (bValues: Float32Array) =>
      new PlacedLora(fast, [{ module: 'ffn_down', factors: { inputs, outputs, rank, a, b: bValues } }]);
    using zero = lora(new Float32Array(b.length));
    assert.deepEqual(await sequenceLogits(model, workspace, sequence, [zero.lora]), base);

    using some = lora(b);
    const adapted = await sequenceLogits(model, workspace, sequence, [some.lora]);
    assert.ok(meanKl(base, adapted, model.hyper.vocabulary) > 1e-3);
    // The same model with W + B·A written into its file.
    const gguf = await readGguf(path);
    const { openTensors } = await import('../formats/gguf/Gguf.js');
    const { writeGguf } = await import('../formats/gguf/writeGguf.js');
    await using file = await openTensors(gguf);
    const merged = join(folder, 'merged.gguf');
    await writeGguf(merged, {
      metadata: gguf.metadata,
      tensors: [...gguf.tensors.values()].map((tensor) => ({
        ...tensor,
        data: async () => {
          const bytes = await file.read(tensor.name);
          if (tensor.name !== 'blk.0.ffn_down.weight') return bytes;
          const w = new Float32Array(bytes.slice().buffer);
          for (let o = 0; o < outputs; o++)
            for (let i = 0; i < inputs; i++)
              for (let k = 0; k < rank; k++) w[o * inputs + i]! += b[o * rank + k]! * a[k * inputs + i]!;
          return new Uint8Array(w.buffer);
        },
      })),
    });
    await using other = await Model.open(fast, merged);
    const expected = await sequenceLogits(other, workspace, sequence);
    const kl = meanKl(expected, adapted, model.hyper.vocabulary);
    assert.ok(kl < 1e-8, `KL ${kl}`);
  });
});

/** The sizes of a tiny model under another family's names. */
function sizesOf(family: string): NonNullable<TinyModelOptions['metadata']> {
  const sizes = { block_count: 2, context_length: 512, embedding_length: 64, feed_forward_length: 96 };
  return Object.fromEntries(
    Object.entries({ ...sizes, 'attention.head_count': 4, 'attention.head_count_kv': 2 }).map(([key, value]) => [
      `${family}.${key}`,
      u32(value),
    ]),
  );
}

it('a model whose rotation depends on the length of the context is read within the shorter one', async () => {
  const options = { family: 'phi3', metadata: { 'phi3.rope.scaling.original_context_length': u32(256) } } as const;
  const contextOf = async (ropeFactors: boolean) =>
    readHyperparameters(await readGguf(await tiny({ ...options, ropeFactors }))).contextLength;
  assert.deepEqual([await contextOf(false), await contextOf(true)], [512, 256 - 64]);
});

describe('files that cannot be run are refused with a reason', () => {
  const refuses = (name: string, options: TinyModelOptions, kind: typeof LoamError, pattern: RegExp) =>
    it(name, async () => {
      const gguf = await readGguf(await tiny(options));
      assert.throws(
        () => readHyperparameters(gguf),
        (error) => error instanceof kind && pattern.test((error as Error).message),
      );
    });
  /** Its layers are libllama's affair. */
  const leaves = (name: string, options: TinyModelOptions, pattern: RegExp) =>
    it(`${name}, but for libllama's graph`, async () => {
      const { family } = readHyperparameters(await readGguf(await tiny(options)));
      assert.equal(family.isForeign, true);
      assert.match(family.title, pattern);
    });
  refuses(
    'another architecture, of which it states nothing',
    { metadata: { 'general.architecture': str('mamba') } },
    LoamError,
    /mamba\.block_count": this key is missing/,
  );
  const bert = { 'general.architecture': str('bert'), 'bert.block_count': u32(2), 'bert.embedding_length': u32(64) };
  refuses(
    'one that reads in both directions',
    { metadata: { ...bert, 'bert.attention.causal': bool(false) } },
    UnsupportedError,
    /reads whole texts at once, expected one that predicts the next token/,
  );
  refuses(
    'one whose embeddings are of another width',
    { metadata: { ...bert, 'bert.embedding_length': u32(32) } },
    UnsupportedError,
    /without a table of embeddings as wide as its layers/,
  );
  leaves('mixture of experts', { metadata: { 'llama.expert_count': u32(8) } }, /^llama: a mixture-of-experts model$/);
  refuses(
    'unknown RoPE scaling',
    { metadata: { 'llama.rope.scaling.type': str('longrope') } },
    UnsupportedError,
    /longrope/,
  );
  refuses(
    'sizes that contradict the tensors',
    { metadata: { 'llama.feed_forward_length': u32(128) } },
    LoamError,
    /ffn_gate\.weight is \[64, 96\], expected \[64, 128\]/,
  );
  refuses(
    'more layers than there are',
    { metadata: { 'llama.block_count': u32(3) } },
    LoamError,
    /blk\.2\.attn_norm\.weight is missing/,
  );
  refuses(
    'heads that do not divide',
    { metadata: { 'llama.attention.head_count_kv': u32(3) } },
    LoamError,
    /do not divide/,
  );
  leaves(
    'a tensor that its family does not compute with',
    { family: 'qwen2', biases: 'all' },
    /tensors that a dense Qwen2[^:]* model does not have: blk\.0\.attn_output\.bias/,
  );
  leaves('capped logits', { family: 'qwen3', metadata: { 'qwen3.final_logit_softcapping': f32(30) } }, /capped logits/);
  leaves(
    'heads of another width in windows',
    { family: 'gemma3', window: 8, metadata: { 'gemma3.attention.key_length_swa': u32(8) } },
    /another width in layers with a sliding window/,
  );
  leaves(
    'values of another width than keys',
    { metadata: { 'llama.attention.value_length': u32(8) } },
    /values of another width/,
  );
  refuses(
    'heads that are rotated in part',
    { family: 'qwen3', metadata: { 'qwen3.rope.dimension_count': u32(8) } },
    LoamError,
    /8 rotated dimensions of 16/,
  );
  refuses(
    'more rotated dimensions than a head has',
    { family: 'phi3', metadata: { 'phi3.rope.dimension_count': u32(18) } },
    LoamError,
    /dimension_count is 18/,
  );
  leaves(
    'attention that knows no positions',
    { family: 'granite', metadata: { 'granite.rope.scaling.finetuned': bool(false) } },
    /knows no positions/,
  );
  leaves(
    'layers that differ in their key/value heads',
    { metadata: { 'llama.attention.head_count_kv': i32s([2, 4]) } },
    /different numbers of key\/value heads/,
  );
  refuses(
    'norms that are missing',
    { metadata: { 'general.architecture': str('gemma3'), ...sizesOf('gemma3') } },
    LoamError,
    /blk\.0\.attn_q_norm\.weight is missing/,
  );
  refuses(
    'a window pattern of zero',
    { family: 'gemma3', window: 8, metadata: { 'gemma3.attention.sliding_window_pattern': u32(0) } },
    LoamError,
    /sliding_window_pattern is 0/,
  );
  refuses('a zero size', { metadata: { 'llama.block_count': u32(0) } }, LoamError, /block_count is 0/);
  refuses('an adapter', { metadata: { 'general.type': str('adapter') } }, LoamError, /holds an adapter/);
  refuses(
    'an infinite constant',
    { metadata: { 'llama.rope.freq_base': f32(Number.POSITIVE_INFINITY) } },
    LoamError,
    /freq_base is Infinity/,
  );
});
