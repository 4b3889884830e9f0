import { Random } from '../base/random.js';
import { tensorTypes } from '../engine/tensorTypes.js';
import { bool, f32, type GgufArray, type GgufValue, i32s, numbers, str, u32 } from '../formats/gguf/values.js';
import { type TensorToWrite, writeGguf } from '../formats/gguf/writeGguf.js';
import { chatml, tokenizerMetadata, vocabulary } from './tinyModel.js';

/** Random models of architectures without a file in `families`, and of some variants, small enough for unit tests, as whole GGUF files that libllama loads. */

const [E, H, KV, D, F] = [64, 4, 2, 16, 96];

interface Spec {
  /** Norm before the output. */
  out?: string;
  /** Embeddings are multiplied by the root of their width: then they are as small. */
  scaled?: true;
  /** Keys behind the architecture's name, and tensors beside the layers. */
  keys?: Record<string, GgufValue>;
  top?: Record<string, readonly number[]>;
  /** Tensors of a layer by their names; `.weight` is added to those without an ending. */
  layer: (index: number) => Record<string, readonly number[]>;
}

const attention = { attn_q: [E, H * D], attn_k: [E, KV * D], attn_v: [E, KV * D], attn_output: [H * D, E] };
const headNorms = { attn_q_norm: [D], attn_k_norm: [D] };
const dense = { ffn_gate: [E, F], ffn_up: [E, F], ffn_down: [F, E] };
const norms = { attn_norm: [E], ffn_norm: [E] };
const usual = { ...norms, ...attention, ...dense };
const experts = { ffn_gate_inp: [E, 4], ffn_gate_exps: [E, F, 4], ffn_up_exps: [E, F, 4], ffn_down_exps: [F, E, 4] };
const expertKeys = { expert_count: u32(4), expert_used_count: u32(2), expert_feed_forward_length: u32(F) };
const wideHeads = { 'attention.key_length': u32(D), 'attention.value_length': u32(D) };
const u32s = (values: number[]): GgufArray => numbers('u32', values);
const bools = (value: boolean[]): GgufArray => ({ type: 'array', of: 'bool', value });

const specs = {
  // Short convolutions and attention, layer by layer.
  lfm2: {
    out: 'token_embd_norm',
    keys: { 'shortconv.l_cache': u32(3), 'attention.head_count_kv': u32s([0, KV, 0, KV]) },
    layer: (i) => {
      const mixer = i % 2 ? { ...headNorms, ...attention } : undefined;
      const convolution = { 'shortconv.conv': [3, E], 'shortconv.in_proj': [E, 3 * E], 'shortconv.out_proj': [E, E] };
      return { ...norms, ...(mixer ?? convolution), ...dense };
    },
  },
  // A gated delta net and attention; positions of several sections.
  qwen35: {
    keys: {
      'rope.dimension_sections': i32s([2, 2, 2, 2]),
      'ssm.conv_kernel': u32(4),
      'ssm.inner_size': u32(64),
      'ssm.state_size': u32(16),
      'ssm.time_step_rank': u32(4),
      'ssm.group_count': u32(2),
      full_attention_interval: u32(2),
      ...wideHeads,
    },
    layer: (i) => {
      const gated = { ...headNorms, ...attention, attn_q: [E, 2 * H * D] };
      const [states, gate] = [{ attn_qkv: [E, 128], ssm_conv1d: [4, 128], ssm_norm: [16] }, { attn_gate: [E, 64] }];
      const steps = { 'ssm_dt.bias': [4], 'ssm_a.': [4], ssm_beta: [E, 4], ssm_alpha: [E, 4] };
      const net = { ...states, ...gate, ...steps, ssm_out: [64, E] };
      return { attn_norm: [E], post_attention_norm: [E], ...(i % 2 ? gated : net), ...dense };
    },
  },
  qwen3moe: {
    keys: { ...expertKeys, ...wideHeads },
    layer: () => ({ ...norms, ...attention, ...headNorms, ...experts }),
  },
  // Mixtral.
  llama: { keys: expertKeys, top: { output: [E, 0] }, layer: () => ({ ...norms, ...attention, ...experts }) },
  mistral3: { layer: () => usual },
  // Every fourth layer has no positions, by its place.
  smollm3: { layer: () => usual },
  // Norms behind the linears, and none before them.
  olmo2: {
    top: { output: [E, 0] },
    layer: () => ({
      ...attention,
      attn_q_norm: [H * D],
      attn_k_norm: [KV * D],
      post_attention_norm: [E],
      ...dense,
      post_ffw_norm: [E],
    }),
  },
  // Norms before and behind.
  seed_oss: { keys: wideHeads, layer: () => ({ ...usual, ffn_norm: undefined!, post_attention_norm: [E] }) },
  // Norms behind the linears, and none before them but of heads.
  exaone4: {
    layer: () => ({ ...attention, ...headNorms, ...dense, post_attention_norm: [E], post_ffw_norm: [E] }),
  },
  // Biases, and norms that subtract the mean.
  starcoder2: {
    top: { 'output_norm.bias': [E] },
    layer: () => ({
      ...usual,
      ffn_gate: undefined!,
      'attn_norm.bias': [E],
      'ffn_norm.bias': [E],
      'attn_output.bias': [E],
      'ffn_up.bias': [F],
      'ffn_down.bias': [E],
    }),
  },
  // Both halves of a layer read the same, and are added together.
  phi2: {
    top: { 'output_norm.bias': [E], output: [E, 0], 'output.bias': [0] },
    layer: () => ({
      attn_norm: [E],
      'attn_norm.bias': [E],
      ...attention,
      'attn_q.bias': [H * D],
      'attn_k.bias': [KV * D],
      'attn_v.bias': [KV * D],
      'attn_output.bias': [E],
      ffn_up: [E, F],
      'ffn_up.bias': [F],
      ffn_down: [F, E],
      'ffn_down.bias': [E],
    }),
  },
  ernie4_5: { layer: () => usual },
  // Sinks, windows in every second layer by its place, experts with biases.
  'gpt-oss': {
    keys: { ...expertKeys, ...wideHeads, 'attention.sliding_window': u32(8) },
    top: { output: [E, 0] },
    layer: () => ({
      attn_norm: [E],
      post_attention_norm: [E],
      ...attention,
      'attn_q.bias': [H * D],
      'attn_k.bias': [KV * D],
      'attn_v.bias': [KV * D],
      'attn_output.bias': [E],
      'attn_sinks.weight': [H],
      ...experts,
      'ffn_gate_inp.bias': [4],
      'ffn_gate_exps.bias': [F, 4],
      'ffn_up_exps.bias': [F, 4],
      'ffn_down_exps.bias': [E, 4],
    }),
  },
  // States and nothing else.
  mamba: {
    keys: {
      'attention.head_count': u32(0),
      feed_forward_length: u32(0),
      'ssm.conv_kernel': u32(4),
      'ssm.inner_size': u32(2 * E),
      'ssm.state_size': u32(16),
      'ssm.time_step_rank': u32(4),
    },
    layer: () => ({
      attn_norm: [E],
      ssm_in: [E, 4 * E],
      ssm_conv1d: [4, 2 * E],
      'ssm_conv1d.bias': [2 * E],
      ssm_x: [2 * E, 36],
      ssm_dt: [4, 2 * E],
      'ssm_dt.bias': [2 * E],
      'ssm_a.': [16, 2 * E],
      'ssm_d.': [2 * E],
      ssm_out: [2 * E, E],
    }),
  },
  // Embeddings of its own for each layer: a layer reads more than the stream.
  gemma4: {
    scaled: true,
    keys: {
      embedding_length_per_layer_input: u32(32),
      'attention.shared_kv_layers': u32(0),
      ...wideHeads,
      'attention.key_length_swa': u32(D),
      'attention.value_length_swa': u32(D),
      'rope.freq_base_swa': f32(10000),
      'attention.sliding_window': u32(32),
      'attention.sliding_window_pattern': bools([true, true, true, false]),
    },
    top: {
      per_layer_token_embd: [32 * 4, 0],
      per_layer_model_proj: [E, 32 * 4],
      per_layer_proj_norm: [32],
      rope_freqs: [D / 2],
    },
    layer: () => ({
      ...usual,
      ...headNorms,
      post_attention_norm: [E],
      post_ffw_norm: [E],
      inp_gate: [E, 32],
      proj: [32, E],
      post_norm: [E],
      layer_output_scale: [1],
    }),
  },
  // The same, and four streams, which learnt factors mix; a second way beside attention.
  gemma3n: {
    scaled: true,
    keys: { ...wideHeads, 'attention.sliding_window': u32(8), 'rope.freq_base_swa': f32(10000) },
    top: {
      altup_proj: [E, E, 3],
      altup_unembd_proj: [E, E, 3],
      per_layer_token_embd: [256 * 4, 0],
      per_layer_model_proj: [E, 256 * 4],
      per_layer_proj_norm: [256],
    },
    layer: () => ({
      ...usual,
      ...headNorms,
      post_attention_norm: [E],
      post_ffw_norm: [E],
      inp_gate: [E, 256],
      proj: [256, E],
      post_norm: [E],
      altup_correct_coef: [4, 4],
      altup_correct_scale: [E],
      altup_predict_coef: [4, 16],
      altup_router: [E, 4],
      altup_router_norm: [E],
      laurel_l: [E, 64],
      laurel_r: [64, E],
      laurel_post_norm: [E],
    }),
  },
} as const satisfies Record<string, Spec>;

export type Architecture = keyof typeof specs;
export const architectures = Object.keys(specs) as Architecture[];

/** Layers, unless another number is asked for. */
export const tinyLayers = 4;

interface Sizes {
  layers?: number;
  seed?: number;
  /** Factor of what a layer writes into the stream: the smaller, the more of it reaches the end as it was. */
  written?: number;
}

/** Writes the model; returns its path. */
export async function writeTinyArchitecture(path: string, name: Architecture, sizes: Sizes = {}): Promise<string> {
  const { layers = tinyLayers, seed = 1, written = 1 } = sizes;
  const { out = 'output_norm', scaled, keys = {}, top = {}, layer }: Spec = specs[name];
  const { tokens, types, merges } = vocabulary();
  const random = new Random(seed);
  const own: Record<string, GgufValue> = {
    block_count: u32(layers),
    context_length: u32(512),
    embedding_length: u32(E),
    feed_forward_length: u32(F),
    'attention.head_count': u32(H),
    'attention.head_count_kv': u32(KV),
    'attention.layer_norm_rms_epsilon': f32(1e-5),
    'attention.layer_norm_epsilon': f32(1e-5),
    'rope.dimension_count': u32(D),
    vocab_size: u32(tokens.length),
    ...keys,
  };
  const metadata: [string, GgufValue][] = [
    ['general.architecture', str(name)],
    ['general.type', str('model')],
    ['general.name', str('tiny')],
    ...Object.entries(own).map(([key, value]): [string, GgufValue] => [`${name}.${key}`, value]),
    ...tokenizerMetadata(tokens, types, merges),
    ['tokenizer.chat_template', str(chatml)],
    ['general.file_type', u32(0)],
    ['tokenizer.ggml.add_eos_token', bool(false)],
  ];
  const tensor = (name: string, dims: readonly number[], factor?: number): TensorToWrite => {
    const shape = dims.map((n) => (n === 0 ? tokens.length : n));
    const full = name.endsWith('.') ? name.slice(0, -1) : /\.(weight|bias)$/.test(name) ? name : `${name}.weight`;
    const isVector = shape.length === 1;
    const [mean, spread] = /norm\.weight$|rope_freqs|scale\.weight$/.test(full)
      ? [1, 0.1]
      : full.endsWith('ssm_a')
        ? [-0.5, 0.05]
        : [0, factor ?? (isVector ? 0.1 : (/attn_output|ffn_down/.test(full) ? written : 1) / Math.sqrt(shape[0]!))];
    const values = new Float32Array(shape.reduce((p, n) => p * n, 1)).map(() => mean + spread * random.normal());
    return { name: full, type: tensorTypes.f32, shape, data: new Uint8Array(values.buffer) };
  };
  const tensors = [tensor('token_embd', [E, 0], scaled ? 1 / Math.sqrt(E) : 1), tensor(out, [E])];
  for (const [name, shape] of Object.entries(top)) tensors.push(tensor(name, shape));
  for (let i = 0; i < layers; i++) {
    for (const [name, shape] of Object.entries(layer(i))) if (shape) tensors.push(tensor(`blk.${i}.${name}`, shape));
  }
  await writeGguf(path, { metadata, tensors });
  return path;
}
