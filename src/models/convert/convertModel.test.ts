import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError, StoppedError, UsageError } from '../../base/errors.js';
import { LlamaModel } from '../../engine/llama.js';
import { native } from '../../engine/native.js';
import { type QuantizedType, quantizeModel } from '../../engine/quantize.js';
import { quantizeRows } from '../../engine/rows.js';
import { rowBytes, type TensorTypeName, tensorTypes } from '../../engine/tensorTypes.js';
import { openTensors } from '../../formats/gguf/Gguf.js';
import { readGguf } from '../../formats/gguf/readGguf.js';
import { str, strings, u32 } from '../../formats/gguf/values.js';
import { writeGguf } from '../../formats/gguf/writeGguf.js';
import { meanKl } from '../../testing/kl.js';
import { drain, scratchFolder } from '../../testing/scratch.js';
import { sizes, type TinyFolder, writeTinyFolder } from '../../testing/tinyFolder.js';
import { type ConvertEvent, type Converted, type ConvertOptions, convertModel } from './convertModel.js';

const scratch = scratchFolder();
let made = 0;
const fresh = (name: string) => join(scratch, `${made++}-${name}`);
const folder = (options: TinyFolder = {}) => writeTinyFolder(fresh('model'), options);

async function convert(
  input: string,
  options: ConvertOptions = {},
  out = fresh('out.gguf'),
): Promise<Converted & { events: ConvertEvent[] }> {
  const { value, events } = await drain(convertModel(input, out, options));
  return { ...value, events };
}

async function valuesOf(path: string, name: string): Promise<Float32Array> {
  await using file = await openTensors(await readGguf(path));
  const bytes = await file.read(name);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

async function logitsOf(path: string): Promise<Float32Array> {
  using model = await LlamaModel.load(path);
  const context = await model.context({ contextLength: 64, threads: 1 });
  const ids = Int32Array.from({ length: 40 }, (_, i) => (i * 37) % 250);
  const logits = new Float32Array(ids.length * model.vocabulary.size);
  await context.decode(ids, 0, { wants: () => true, onLogits: (rows) => logits.set(rows) });
  return logits;
}

describe('what is changed on the way', () => {
  it('Llama: rows of queries and keys change places within their head, so that pairs are neighbours', async () => {
    const { path, tensors } = await folder();
    const out = await convert(path, { type: 'f32' });
    const { headDim, embedding: hidden } = sizes;
    for (const [hf, gguf] of [
      ['q_proj', 'attn_q'],
      ['k_proj', 'attn_k'],
    ] as const) {
      const { values } = tensors.get(`model.layers.1.self_attn.${hf}.weight`)!;
      const found = await valuesOf(out.path, `blk.1.${gguf}.weight`);
      for (let row = 0; row < values.length / hidden; row++) {
        const head = Math.floor(row / headDim);
        const within = row % headDim;
        const half = headDim / 2;
        const to = head * headDim + (within < half ? 2 * within : 2 * (within - half) + 1);
        const slice = (all: Float32Array, at: number) => all.subarray(at * hidden, (at + 1) * hidden);
        assert.deepEqual(slice(found, to), slice(values, row), `${hf} row ${row}`);
      }
    }
    const v = await valuesOf(out.path, 'blk.1.attn_v.weight');
    assert.deepEqual(v, tensors.get('model.layers.1.self_attn.v_proj.weight')!.values);
  });

  it('Gemma 3: norms are stored around 1, nothing else is', async () => {
    const { path, tensors } = await folder({ family: 'gemma3' });
    const out = await convert(path, { type: 'f32' });
    const names = [
      ['model.layers.0.input_layernorm.weight', 'blk.0.attn_norm.weight'],
      ['model.layers.0.post_attention_layernorm.weight', 'blk.0.post_attention_norm.weight'],
      ['model.layers.0.pre_feedforward_layernorm.weight', 'blk.0.ffn_norm.weight'],
      ['model.layers.0.post_feedforward_layernorm.weight', 'blk.0.post_ffw_norm.weight'],
      ['model.layers.0.self_attn.q_norm.weight', 'blk.0.attn_q_norm.weight'],
      ['model.norm.weight', 'output_norm.weight'],
    ] as const;
    for (const [hf, gguf] of names) {
      assert.deepEqual(
        await valuesOf(out.path, gguf),
        tensors.get(hf)!.values.map((value) => value + 1),
        gguf,
      );
    }
    const q = await valuesOf(out.path, 'blk.0.attn_q.weight');
    assert.deepEqual(q, tensors.get('model.layers.0.self_attn.q_proj.weight')!.values);
  });

  it('Qwen3.5: heads of values change places, norms but one are stored around 1, layers that draft are left out', async () => {
    const drafts = { 'mtp.fc.weight': [64, 128], 'model.mtp.norm.weight': [64] };
    const { path, tensors } = await folder({
      family: 'qwen35',
      tensors: (all) => {
        for (const [name, shape] of Object.entries(drafts)) {
          all.set(name, { shape, values: new Float32Array(shape.reduce((a, b) => a * b)) });
        }
      },
    });
    const out = await convert(path, { type: 'f32' });
    const at = 'model.layers.0.linear_attn.';
    const given = (name: string) => tensors.get(name)!.values;
    // Four heads of values for two of keys: the first two read by the first, of which one comes first in GGUF.
    const order = [0, 2, 1, 3];
    const moved = (values: Float32Array, unit: number) =>
      Float32Array.from(order.flatMap((head) => [...values.subarray(head * unit, (head + 1) * unit)]));
    const { headDim } = sizes.delta;
    assert.deepEqual(await valuesOf(out.path, 'blk.0.ssm_dt.bias'), moved(given(`${at}dt_bias`), 1));
    const rates = given(`${at}A_log`).map((value) => -Math.exp(value));
    assert.deepEqual(await valuesOf(out.path, 'blk.0.ssm_a'), moved(rates, 1));
    const gate = moved(given(`${at}in_proj_z.weight`), headDim * sizes.embedding);
    assert.deepEqual(await valuesOf(out.path, 'blk.0.attn_gate.weight'), gate);
    const all = given(`${at}in_proj_qkv.weight`);
    const keys = 2 * sizes.delta.keyHeads * headDim * sizes.embedding;
    const found = await valuesOf(out.path, 'blk.0.attn_qkv.weight');
    assert.deepEqual(found.subarray(0, keys), all.subarray(0, keys));
    assert.deepEqual(found.slice(keys), moved(all.subarray(keys), headDim * sizes.embedding));
    const row = moved(given(`${at}out_proj.weight`), headDim);
    assert.deepEqual((await valuesOf(out.path, 'blk.0.ssm_out.weight')).slice(0, row.length), row);
    assert.deepEqual(await valuesOf(out.path, 'blk.0.ssm_norm.weight'), given(`${at}norm.weight`));
    const norm = given('model.layers.0.post_attention_layernorm.weight').map((value) => value + 1);
    assert.deepEqual(await valuesOf(out.path, 'blk.0.post_attention_norm.weight'), norm);
    assert.ok(![...(await readGguf(out.path)).tensors.keys()].some((name) => !/^(blk\.[01]|token|output)/.test(name)));

    for (const config of [
      { layer_types: ['full_attention', 'linear_attention'] },
      { linear_value_head_dim: 8 },
      { linear_num_value_heads: 3 },
      { attn_output_gate: false },
      { attention_bias: true },
    ]) {
      const refused = convert((await folder({ family: 'qwen35', config })).path);
      await assert.rejects(refused, (error) => error instanceof LoamError, JSON.stringify(config));
    }
  });

  it('Mistral Small 3.1: a text of the type of Llama in a model that also sees', async () => {
    const config = {
      architectures: ['Mistral3ForConditionalGeneration'],
      model_type: 'mistral3',
      text_config: { model_type: 'mistral' },
      rope_parameters: null,
      rope_theta: 1e6,
    };
    const { path } = await folder({ family: 'mistral3', config });
    const { metadata } = await readGguf((await convert(path)).path);
    assert.deepEqual(metadata.get('general.architecture'), str('mistral3'));
  });

  it('shards, in a folder of links as the cache of the hub has it, give the file of one', async () => {
    const one = await convert((await folder({ dtype: 'bf16' })).path);
    const many = await folder({ dtype: 'bf16', shardBytes: 20_000 });
    const links = fresh('model');
    await mkdir(links);
    for (const name of await readdir(many.path)) await symlink(join(many.path, name), join(links, name));
    assert.ok((await readdir(links)).length > 6);
    const other = await convert(links);
    const [a, b] = [await readGguf(one.path), await readGguf(other.path)];
    for (const name of a.tensors.keys()) {
      const bytes = async (path: string) => await (await openTensors(await readGguf(path))).read(name);
      assert.deepEqual(await bytes(a.path), await bytes(b.path), name);
    }
    assert.equal(a.tensors.size, b.tensors.size);
  });

  it('a head of its own is kept, and told where config.json says that it is the embeddings', async () => {
    const withHead = (factor: number) =>
      folder({
        tensors: (all) => {
          const { shape, values } = all.get('model.embed_tokens.weight')!;
          all.set('lm_head.weight', { shape, values: values.map((value) => factor * value) });
        },
      });
    for (const factor of [1, 2]) {
      const { path, tensors } = await withHead(factor);
      const out = await convert(path, { type: 'f32' });
      assert.deepEqual(await valuesOf(out.path, 'output.weight'), tensors.get('lm_head.weight')!.values);
      const notes = out.events.filter(({ type }) => type === 'note').map((event) => JSON.stringify(event));
      assert.equal(notes.filter((note) => note.includes('tie_word_embeddings')).length, factor === 2 ? 1 : 0);
    }
  });

  it('a table of embeddings of any size passes through a few megabytes', async () => {
    const vocabulary = 60_000;
    const { path, tensors } = await folder({
      config: { vocab_size: vocabulary },
      tensors: (all) => {
        const values = new Float32Array(vocabulary * sizes.embedding).map((_, i) => (i % 977) - 488);
        all.set('model.embed_tokens.weight', { shape: [vocabulary, sizes.embedding], values });
      },
    });
    const out = await convert(path, { type: 'f32' });
    assert.deepEqual(await valuesOf(out.path, 'token_embd.weight'), tensors.get('model.embed_tokens.weight')!.values);
    const pieces = out.events.filter(({ type }) => type === 'progress');
    // 15 MB in pieces of 4.
    assert.ok(pieces.length >= 4 + 2 * 9 + 1);
  });

  for (const family of ['llama', 'qwen2', 'qwen3', 'gemma3'] as const) {
    it(`${family}: libllama loads it, in each type`, async () => {
      const { path } = await folder({ family });
      const exact = await logitsOf((await convert(path, { type: 'f32' })).path);
      const distance: Record<string, number> = {};
      for (const type of ['f16', 'bf16', 'q8_0', 'q4_0'] as const) {
        const other = await logitsOf((await convert(path, { type })).path);
        distance[type] = meanKl(exact, other, sizes.vocabulary);
      }
      // Bits a weight: 16 with a fraction of 10, of 7; 8; 4.
      assert.ok(distance.f16! < 1e-4, JSON.stringify(distance));
      assert.ok(distance.f16! < distance.bf16! && distance.bf16! < 2 * distance.q8_0! + 1e-4, JSON.stringify(distance));
      assert.ok(distance.q8_0! < distance.q4_0! && distance.q4_0! < 0.1, JSON.stringify(distance));
    });
  }
});

describe('quantising', () => {
  const matrices = ['attn_q', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_down'];

  /** ggml's own quantiser on the rows of a matrix, with weights of its inputs where given. */
  function expected(type: TensorTypeName, values: Float32Array, width: number, importance?: Float32Array): Uint8Array {
    if (!importance) return quantizeRows(type, values, width);
    const rows = values.length / width;
    const out = new Uint8Array(rowBytes(tensorTypes[type], width) * rows);
    native().ggml.quantizeChunk(tensorTypes[type].id, values, out, 0, rows, width, importance);
    return out;
  }

  async function importanceFile(): Promise<{ path: string; means: Map<string, Float32Array> }> {
    const path = fresh('imatrix.gguf');
    const means = new Map<string, Float32Array>();
    const tensors = [];
    const raw = (values: Float32Array) => new Uint8Array(values.buffer);
    for (let l = 0; l < sizes.layers; l++) {
      for (const name of matrices) {
        const width = name === 'ffn_down' ? sizes.feedForward : sizes.embedding;
        const sums = new Float32Array(width).map((_, i) => 4 * (1 + ((i * 13) % 50)));
        const full = `blk.${l}.${name}.weight`;
        means.set(
          full,
          sums.map((sum) => sum / 4),
        );
        tensors.push(
          { name: `${full}.in_sum2`, type: tensorTypes.f32, shape: [width, 1], data: raw(sums) },
          { name: `${full}.counts`, type: tensorTypes.f32, shape: [1, 1], data: raw(Float32Array.of(4)) },
        );
      }
    }
    const metadata: [string, ReturnType<typeof str> | ReturnType<typeof strings>][] = [
      ['general.type', str('imatrix')],
      ['imatrix.datasets', strings(['x'])],
      ['imatrix.chunk_count', u32(1)],
      ['imatrix.chunk_size', u32(512)],
    ];
    await writeGguf(path, { metadata, tensors });
    return { path, means };
  }

  it('each matrix is what ggml_quantize_chunk makes of it; with an importance matrix, of both', async () => {
    const { path } = await folder();
    const exact = (await convert(path, { type: 'f32' })).path;
    const { path: imatrix, means } = await importanceFile();
    for (const type of ['q4_0', 'q4_1', 'q5_0', 'q5_1', 'iq4_nl'] as const) {
      const plain = (await convert(path, { type, pure: true })).path;
      const weighed = (await convert(path, { type, pure: true, imatrix })).path;
      let differ = 0;
      for (const name of matrices.map((matrix) => `blk.1.${matrix}.weight`)) {
        const values = await valuesOf(exact, name);
        const gguf = await readGguf(plain);
        const width = gguf.tensor(name).shape[0]!;
        assert.equal(gguf.tensor(name).type.name, type);
        const bytes = async (file: string) => await (await openTensors(await readGguf(file))).read(name);
        assert.deepEqual(await bytes(plain), expected(type, values, width), `${type} ${name}`);
        const other = await bytes(weighed);
        assert.deepEqual(other, expected(type, values, width, means.get(name)), `${type} ${name}, weighed`);
        if (Buffer.compare(other, await bytes(plain)) !== 0) differ++;
      }
      assert.equal(differ, matrices.length, `${type}: the importance matrix arrives`);
    }
  });

  it('a GGUF file: the same as from the folder; without --pure, as libllama chooses', async () => {
    const { path } = await folder({ family: 'qwen3' });
    const exact = await convert(path, { type: 'f32' });
    const direct = fresh('direct.gguf');
    for (const type of ['q4_0', 'q5_1'] as const) {
      const twoSteps = await convert(exact.path, { type });
      const oneStep = await convert(path, { type });
      assert.ok(readFileSync(twoSteps.path).equals(readFileSync(oneStep.path)), type);
      await quantizeModel(exact.path, direct, { type, pure: false });
      assert.ok(readFileSync(direct).equals(readFileSync(oneStep.path)), type);
      assert.equal((await readGguf(oneStep.path)).tensor('token_embd.weight').type.name, 'q8_0');
    }
    assert.deepEqual(
      (await readdir(scratch)).filter((name) => /partial|unquantised/.test(name)),
      [],
    );
  });

  it('every type that is offered can be written', async () => {
    const { path } = await folder();
    const exact = (await convert(path, { type: 'f32' })).path;
    const { path: imatrix } = await importanceFile();
    const types: QuantizedType[] = ['q2_k', 'q3_k_s', 'q3_k_l', 'q4_k', 'q4_k_m', 'q5_k_s', 'q6_k', 'iq4_xs', 'iq3_s'];
    for (const type of types) assert.equal((await convert(exact, { type })).matrices, type);
    await convert(exact, { type: 'iq2_s', imatrix });
    await assert.rejects(convert(exact, { type: 'iq2_s' }), UsageError);
  });

  it('refuses what cannot be', async () => {
    const { path } = await folder();
    const { path: exact } = await convert(path, { type: 'f32' });
    await assert.rejects(convert(exact), /no type/);
    await assert.rejects(convert(exact, { type: 'q4_0' }, exact), /same file/);
    await assert.rejects(convert(path, { imatrix: exact }), /without a type/);
    await assert.rejects(convert(path, { type: 'q4_0', imatrix: exact }), /no importance matrix/);
    await assert.rejects(convert(path, { type: 'q4_0', imatrix: join(path, 'config.json') }), /no GGUF file/);
    await assert.rejects(convert((await importanceFile()).path, { type: 'q4_0' }), /no base model/);
    await assert.rejects(convert(join(path, 'none'), { type: 'q4_0' }), /nothing here/);
    assert.ok((await stat(exact)).size > 0);
  });
});

describe('stopping', () => {
  it('leaves nothing, and an older file as it was', async () => {
    const { path } = await folder({ config: {} });
    const out = join(fresh('place'), 'm.gguf');
    await mkdir(join(out, '..'));
    await writeFile(out, 'older');
    for (const type of ['f16', 'q4_0'] as const) {
      const controller = new AbortController();
      const run = convertModel(path, out, { type, signal: controller.signal });
      await assert.rejects(async () => {
        for await (const event of run) if (event.type === 'progress') controller.abort();
      }, StoppedError);
      assert.deepEqual(await readdir(join(out, '..')), ['m.gguf']);
      assert.equal(await readFile(out, 'utf8'), 'older');
    }
  });

  it('while libllama quantises, which nothing interrupts: what it wrote is thrown away', async () => {
    const { path } = await folder();
    const { path: exact } = await convert(path, { type: 'f32' });
    const out = join(fresh('place'), 'm.gguf');
    const controller = new AbortController();
    const run = convertModel(exact, out, { type: 'q4_0', signal: controller.signal });
    await assert.rejects(async () => {
      for await (const event of run) if (event.type === 'quantise') controller.abort();
    }, StoppedError);
    await assert.rejects(stat(out), /ENOENT/);
  });

  it('a consumer that goes away stops the work', async () => {
    const { path } = await folder();
    const out = join(fresh('place'), 'm.gguf');
    for await (const event of convertModel(path, out, { type: 'f16' })) if (event.type === 'progress') break;
    assert.deepEqual(await readdir(join(out, '..')), []);
  });
});
