import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError, UnsupportedError } from '../../base/errors.js';
import { scratchFolder } from '../../testing/scratch.js';
import {
  sizes,
  type TinyFolder,
  type TinyTokenizer,
  tinyTokenizer,
  writeTinyFolder,
} from '../../testing/tinyFolder.js';
import { convertModel } from './convertModel.js';

/** Folders that contradict themselves or mean harm: refused with a sentence, before anything is written. */

const scratch = scratchFolder();
let made = 0;

/** The refusal of a folder; fails where it is converted. */
async function refusal(options: TinyFolder, before?: (path: string) => Promise<void>): Promise<LoamError> {
  const { path } = await writeTinyFolder(join(scratch, `${made++}`, 'model'), options);
  await before?.(path);
  const out = join(path, '..', 'out.gguf');
  try {
    for await (const _ of convertModel(path, out)) {
    }
  } catch (error) {
    assert.ok(error instanceof LoamError, `${(error as Error).stack}`);
    assert.deepEqual(await readdir(join(path, '..')), ['model'], 'nothing is left');
    return error;
  }
  assert.fail('it was converted');
}

const shaped = (shape: number[]) => ({ shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
const withTokenizer = (change: (t: TinyTokenizer) => void): TinyFolder => {
  const tokenizer = tinyTokenizer();
  change(tokenizer);
  return { files: { 'tokenizer.json': JSON.stringify(tokenizer) } };
};

describe('config.json', () => {
  const absurd: [string, unknown][] = [
    ['hidden_size', 0],
    ['hidden_size', -64],
    ['hidden_size', 1e9],
    ['hidden_size', 64.5],
    ['hidden_size', '64'],
    ['num_hidden_layers', 1e15],
    ['num_attention_heads', 1e6],
    ['vocab_size', 2 ** 31],
    ['max_position_embeddings', 1e300],
    ['rms_norm_eps', 'small'],
    ['rms_norm_eps', -1],
    ['rope_theta', 0],
    ['rope_theta', 1e300],
    ['head_dim', 15],
    ['num_key_value_heads', 3],
    ['tie_word_embeddings', 'yes'],
    ['rope_scaling', 7],
    ['rope_scaling', { rope_type: 'linear' }],
  ];
  for (const [key, value] of absurd) {
    it(`${key} ${JSON.stringify(value)}`, async () => {
      const { message } = await refusal({ config: { [key]: value } });
      const subject = { head_dim: 'even', num_key_value_heads: 'divide', rope_scaling: 'rope' }[key] ?? key;
      assert.match(message, new RegExp(subject));
    });
  }

  it('several mistakes are told at once', async () => {
    const { message } = await refusal({
      config: { hidden_size: 0, vocab_size: 'many', rms_norm_eps: null, rope_theta: -1 },
    });
    for (const key of ['hidden_size', 'vocab_size', 'rope_theta']) assert.match(message, new RegExp(key));
  });

  const unsupported: [string, Record<string, unknown>, RegExp, TinyFolder?][] = [
    ['another class', { architectures: ['MambaForCausalLM'] }, /MambaForCausalLM.*LlamaForCausalLM/],
    ['no class', { architectures: undefined }, /no class/],
    ['quantised weights', { quantization_config: { quant_method: 'gptq' } }, /quantised already/],
    ['weights that mlx-lm has quantised', { quantization: { group_size: 64, bits: 4 } }, /quantised already/],
    ['experts', { num_local_experts: 8 }, /experts/],
    ['another activation', { hidden_act: 'relu' }, /relu/],
    ['partial rotary embeddings', { partial_rotary_factor: 0.5 }, /partial_rotary_factor/],
    ['the same among rope_parameters', { rope_parameters: { partial_rotary_factor: 0.5 } }, /partial_rotary_factor/],
    [
      'YaRN by two factors',
      { rope_scaling: { rope_type: 'yarn', factor: 2, mscale: 1, mscale_all_dim: 0.7 } },
      /mscale/,
    ],
    ['YaRN with bounds as they come', { rope_scaling: { rope_type: 'yarn', factor: 2, truncate: false } }, /truncate/],
    ['an unknown scaling', { rope_scaling: { rope_type: 'longrope', factor: 2 } }, /longrope/],
    ["Llama 3's scaling elsewhere", { rope_scaling: { rope_type: 'llama3' } }, /llama3/, { family: 'qwen2' }],
    ['another pattern of windows', { sliding_window_pattern: 4 }, /sixth/, { family: 'gemma3' }],
    ['attention that sees what follows', { is_causal: false }, /embedding model/],
    ['capped attention', { attn_logit_softcapping: 50 }, /softcapping/, { family: 'gemma3' }],
  ];
  for (const [name, config, message, options] of unsupported) {
    it(`${name}: one sentence`, async () => {
      const error = await refusal({ ...options, config });
      assert.ok(error instanceof UnsupportedError, error.message);
      assert.match(error.message, message);
    });
  }

  it("Gemma 3's attention scale that llama.cpp would not compute", async () => {
    const { message } = await refusal({ family: 'gemma3', config: { query_pre_attn_scalar: 99 } });
    assert.match(message, /query_pre_attn_scalar is 99.*16/);
  });

  const contradictions: [string, Record<string, unknown>, RegExp, TinyFolder?][] = [
    ['the model_type of another family', { model_type: 'qwen3' }, /a class of Llama .*model_type of Qwen3/],
    [
      'two scalings',
      { rope_scaling: { rope_type: 'linear', factor: 2 }, rope_parameters: { rope_type: 'linear', factor: 4 } },
      /do not say the same of factor/,
    ],
    ['a scaling of two types', { rope_scaling: { type: 'linear', rope_type: 'yarn', factor: 2 } }, /another rope_type/],
    ['a factor of nothing', { rope_scaling: { factor: 2 } }, /factor and no rope_type/],
    [
      'windows',
      { use_sliding_window: true, sliding_window: 64, max_window_layers: 1 },
      /sliding window shorter than the context/,
      { family: 'qwen2' },
    ],
    ['windows of all layers', { sliding_window: 64 }, /sliding window/, { family: 'mistral3' }],
    ['biases that are not there', { attention_bias: true }, /no biases of attention, and attention_bias is true/],
  ];
  for (const [name, config, message, options] of contradictions) {
    it(`contradicts itself: ${name}`, async () => {
      assert.match((await refusal({ ...options, config })).message, message);
    });
  }

  it('prototypes and duplicates', async () => {
    const text = '{"__proto__": {"hidden_size": 7}, "architectures": ["LlamaForCausalLM"], "hidden_size": 0}';
    assert.match((await refusal({ files: { 'config.json': text } })).message, /hidden_size is 0/);
    assert.equal(({} as Record<string, unknown>).hidden_size, undefined);
    assert.match((await refusal({ files: { 'config.json': '{"a": 1, "a": 2}' } })).message, /twice/);
    assert.match((await refusal({ files: { 'config.json': '[]' } })).message, /object/);
    assert.match((await refusal({ files: { 'config.json': undefined } })).message, /no config\.json/);
  });

  it('the cache of the hub says which folder in it is the model', async () => {
    const cached = async (path: string) => void (await mkdir(join(path, 'snapshots', '0a1b'), { recursive: true }));
    const { message } = await refusal({ files: { 'config.json': undefined } }, cached);
    assert.match(message, /snapshots, as the cache of the hub keeps them.*pass .*model.snapshots.0a1b\.$/);
  });
});

describe('tensors', () => {
  it('missing, unknown, wrong ones are told at once', async () => {
    const { message } = await refusal({
      tensors: (all) => {
        all.delete('model.layers.0.mlp.up_proj.weight');
        all.delete('model.norm.weight');
        all.set('model.layers.1.self_attn.k_proj.weight', shaped([7, 64]));
        all.set('model.layers.0.self_attn.rel_bias', shaped([3]));
        all.set('model.layers.9.input_layernorm.weight', shaped([64]));
      },
    });
    for (const found of [
      '"model.layers.0.mlp.up_proj.weight" is missing',
      '"model.norm.weight" is missing',
      '"model.layers.1.self_attn.k_proj.weight" is [7, 64], expected [32, 64]',
      'rel_bias',
      'layers.9',
    ]) {
      assert.ok(message.includes(found), `${found} in ${message}`);
    }
  });

  it('more tokens than embeddings', async () => {
    const { message } = await refusal({ config: { vocab_size: sizes.vocabulary + 1 } });
    assert.match(message, /embed_tokens.*\[262, 64\], expected \[263, 64\]/);
  });

  it('an output head that is neither there nor said to be the embeddings', async () => {
    assert.match((await refusal({ config: { tie_word_embeddings: false } })).message, /tie_word_embeddings/);
  });

  it('biases that config.json denies, or that some layers lack', async () => {
    const bias = (l: number) => `model.layers.${l}.self_attn.q_proj.bias`;
    const denied = await refusal({
      config: { attention_bias: false },
      tensors: (all) => {
        for (const l of [0, 1]) all.set(bias(l), shaped([64]));
      },
    });
    assert.match(denied.message, /biases of attention, and attention_bias is false/);
    const lacking = await refusal({ family: 'qwen2', tensors: (all) => all.delete(bias(1)) });
    assert.match(lacking.message, /self_attn\.q_proj has a bias in 1 of 2 layers/);
  });

  it('values that are no numbers, or become none', async () => {
    const withValue = (value: number): TinyFolder => ({
      tensors: (all) => {
        all.get('model.layers.1.mlp.up_proj.weight')!.values[70] = value;
      },
    });
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      for (const dtype of ['f32', 'f16', 'bf16'] as const) {
        const { message } = await refusal({ ...withValue(value), dtype });
        assert.match(message, /"model\.layers\.1\.mlp\.up_proj\.weight" that are no finite numbers/);
      }
    }
    // f32 becomes f16.
    assert.match((await refusal(withValue(1e6))).message, /beyond what f16 holds; convert to bf16 or f32 with --type/);
  });

  it('the same tensor under two names', async () => {
    const { message } = await refusal({
      tensors: (all) => all.set('language_model.model.norm.weight', all.get('model.norm.weight')!),
    });
    assert.match(message, /two tensors for output_norm/);
  });

  for (const file of ['../other.safetensors', '/etc/passwd', 'a/b.safetensors', '..\\b.safetensors']) {
    it(`an index that leaves the folder: ${file}`, async () => {
      const { message } = await refusal({ shardBytes: 20_000 }, async (path) => {
        const map = { 'model.norm.weight': file };
        await writeFile(join(path, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
      });
      assert.match(message, /same folder/);
    });
  }

  it('a truncated shard', async () => {
    const { message } = await refusal({}, async (path) => {
      const bytes = await readFile(join(path, 'model.safetensors'));
      await writeFile(join(path, 'model.safetensors'), bytes.subarray(0, bytes.length - 5));
    });
    assert.match(message, /truncated/);
  });
});

describe('the tokeniser', () => {
  it('none', async () => {
    assert.match((await refusal({ files: { 'tokenizer.json': undefined } })).message, /no tokeniser/);
  });

  it('one that cuts text in an unknown way', async () => {
    const error = await refusal(
      withTokenizer((t) => {
        t.pre_tokenizer.pretokenizers[0] = { type: 'Split', pattern: { Regex: '\\d{7}' }, behavior: 'Isolated' };
      }),
    );
    assert.ok(error instanceof UnsupportedError);
    assert.match(error.message, /cuts text/);
  });

  it('a pattern that is no expression, or would never end, is only unknown', async () => {
    for (const Regex of ['(((', '(?<x', '\\p{Nonsense}', '(a+)+$']) {
      const error = await refusal(
        withTokenizer((t) => {
          t.pre_tokenizer.pretokenizers[0] = { type: 'Split', pattern: { Regex }, behavior: 'Isolated' };
        }),
      );
      assert.match(error.message, /cuts text/);
    }
  });

  const wrongIds: [string, unknown][] = [
    ['negative', -1],
    ['a fraction', 1.5],
    ['a text', '3'],
    ['beyond the vocabulary', 99_999],
    ['taken twice', 5],
  ];
  for (const [name, id] of wrongIds) {
    it(`an id that is ${name}`, async () => {
      const { message } = await refusal(
        withTokenizer((t) => {
          (t.model.vocab as Record<string, unknown>)['new token'] = id;
        }),
      );
      assert.match(message, /token/);
    });
  }

  it('another kind than BPE', async () => {
    const options = withTokenizer((t) => {
      t.model = { type: 'Unigram', vocab: [] };
    });
    assert.match((await refusal(options)).message, /byte-pair/);
  });

  it('files that contradict each other', async () => {
    const decoder = { '1': { content: '<|other|>', special: true } };
    const text = JSON.stringify({ added_tokens_decoder: decoder });
    assert.match((await refusal({ files: { 'tokenizer_config.json': text } })).message, /disagree about token 1/);
  });

  for (const [name, bytes] of [
    ['text', 'hello'],
    ['an endless number', '\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff'],
    ['a length beyond the end', '\x0a\x7fab'],
    ['nothing', ''],
  ] as const) {
    it(`tokenizer.model that is ${name}`, async () => {
      const { message } = await refusal({}, async (path) => {
        await writeFile(join(path, 'tokenizer.model'), Buffer.from(bytes, 'latin1'));
      });
      assert.match(message, /tokenizer\.model/);
    });
  }
});

it('names of files do not reach the terminal as they are', async () => {
  const { message } = await refusal({ tensors: (all) => all.set('evil\u001b[2J', shaped([1])) });
  assert.ok(!message.includes('\u001b'));
});
