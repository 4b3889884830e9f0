import { UnsupportedError } from '../base/errors.js';
import { bools, f32, i32s, u32 } from '../formats/gguf/values.js';
import { type Family, type LayerKind, type LayerRow, type LayerSizes, type Sizes, usualLayer } from './family.js';
import { withPostNorms } from './gemma3.js';
import { type Entry, type HfConfig, type HfSettings, limits, type Own } from './huggingFace.js';

/** What llama.cpp takes where a file names none (llama-hparams.h). */
const usualCap = 30;

/**
 * Gemma 4, dense, as a model of texts (llama.cpp, src/models/gemma4.cpp, conversion/gemma.py). Layers that see everything have heads of
 * another width than those that see the last tokens, and may take their keys as values; the last layers may attend to keys and values of
 * earlier ones; each layer may have embeddings of its own (E2B, E4B).
 */
export const gemma4: Family = {
  name: 'gemma4',
  title: 'Gemma 4',
  layer: [
    ...withPostNorms(usualLayer({ headNorms: true })).map((row): LayerRow => {
      if (['attn_k', 'attn_k_norm'].includes(row.name)) return { ...row, only: ['attention', 'keysAlone'] };
      return row.name === 'attn_v' ? { ...row, only: 'attention' } : row;
    }),
    { name: 'inp_gate', module: 'per_layer_input_gate', inputs: 'embedding', outputs: 'perLayer', ofOwn: true },
    { name: 'proj', module: 'per_layer_projection', inputs: 'perLayer', outputs: 'embedding', ofOwn: true },
    { name: 'post_norm', module: 'post_per_layer_input_norm', width: 'embedding', ofOwn: true },
    { name: 'layer_output_scale', module: 'layer_scalar', width: 'one', bare: true, optional: true },
  ],
  block: {
    rope: 'neox',
    ropeFactors: ['rope_freqs'],
    activation: 'geglu',
    local: { period: 'listed', ropeBase: 10_000 },
    evenValues: true,
    logitCap: usualCap,
    perLayerEmbeddings: true,
    scales: ({ embedding }) => ({ embedding: Math.fround(Math.sqrt(embedding)), attention: 1 }),
  },
  huggingFace: {
    classes: ['Gemma4ForConditionalGeneration', 'Gemma4ForCausalLM'],
    modelTypes: ['gemma4', 'gemma4_text'],
    sees: () => true,
    defaults: {
      layers: 30,
      embedding: 2304,
      heads: 8,
      kvHeads: 4,
      headDim: 256,
      feedForward: 9216,
      vocabulary: 262144,
      context: 131072,
      tied: true,
      activation: 'gelu_pytorch_tanh',
      ropeBase: 1_000_000,
    },
    headLengths: 'always',
    ropeScalings: ['proportional'],
    commonScalings: false,
    tensors: { cutsEmbeddings: true },
    tokenizer: {
      spacePrefix: 'never',
      pieces: {
        model: 'gemma4',
        special: ['<pad>', '<eos>', '<bos>', '<unk>', '<mask>'],
        shown: [
          '<|channel>',
          '<channel|>',
          '<|tool_call>',
          '<tool_call|>',
          '<|tool_response>',
          '<tool_response|>',
          '<|"|>',
        ],
      },
    },
    sizes,
    own,
  },
};

/** Of so many layers one sees everything, where config.json does not list them; and the last one always does. */
const usualPeriod = 6;

/** Whether each layer sees the last tokens only. */
function windowsOf(config: HfConfig, layers: number): boolean[] {
  const listed = config.raw('layer_types');
  const isWindow = (l: number) =>
    Array.isArray(listed) ? listed[l] === 'sliding_attention' : (l + 1) % usualPeriod !== 0;
  return Array.from({ length: layers }, (_, l) => l < layers - 1 && isWindow(l));
}

/** What layers that see everything have of their own: in config.json as published, or layer by layer (transformers 5). */
function fullLayers(config: HfConfig, windows: readonly boolean[], { kvHeads }: Pick<Sizes, 'kvHeads'>) {
  const each = config.object('per_layer_config');
  const stated = windows.flatMap((inWindow, l) => (inWindow ? [] : (each?.object(String(l)) ?? [])))[0];
  const headDim = config.whole('global_head_dim', limits.width, stated?.whole('head_dim', limits.width, 512) ?? 512);
  const alone = config.flag('attention_k_eq_v', false);
  const published =
    alone && config.has('num_global_key_value_heads')
      ? config.whole('num_global_key_value_heads', limits.heads, kvHeads)
      : undefined;
  const own = stated?.has('num_key_value_heads')
    ? stated.whole('num_key_value_heads', limits.heads, kvHeads)
    : undefined;
  return { headDim, alone, kvHeads: published ?? own };
}

const sharedLayers = (config: HfConfig) => config.count('num_kv_shared_layers', limits.layers, 0);

function sizes(config: HfConfig, usual: Sizes): Partial<Sizes> {
  const { layers, headDim, kvHeads, feedForward } = usual;
  const listed = config.raw('layer_types');
  if (listed !== undefined && !(Array.isArray(listed) && listed.length === layers)) {
    config.problem(`layer_types does not name the kind of each of ${layers} layers`);
  }
  const windows = windowsOf(config, layers);
  if (!windows.includes(true))
    config.problem('no layer with a sliding window, and llama.cpp computes Gemma 4 with some');
  const full = fullLayers(config, windows, usual);
  if (full.headDim % 2 !== 0) config.problem(`heads of ${full.headDim} values, expected an even number`);
  const own = layers - sharedLayers(config);
  if (own < 2 || (own < layers && !(windows[own - 2] && !windows[own - 1]))) {
    config.problem(
      `keys and values of the first ${own} of ${layers} layers, and llama.cpp computes Gemma 4 with the last two of them shared by the others`,
    );
  }
  const widened = config.flag('use_double_wide_mlp', false) ? 2 * feedForward : feedForward;
  const each = windows.map(
    (inWindow, l): LayerSizes => ({
      headDim: inWindow ? headDim : full.headDim,
      kvHeads: inWindow ? kvHeads : (full.kvHeads ?? kvHeads),
      feedForward: l < own ? feedForward : widened,
    }),
  );
  const kinds = windows.map((inWindow, l): LayerKind => {
    if (l >= own) return 'sharedKeys';
    return full.alone && !inWindow ? 'keysAlone' : 'attention';
  });
  const perLayer = config.count('hidden_size_per_layer_input', limits.width, 256);
  return {
    headDim: full.headDim,
    kvHeads: Math.max(...each.map((one) => one.kvHeads)),
    feedForward: Math.max(...each.map((one) => one.feedForward)),
    each,
    kinds,
    ...(perLayer > 0 && { perLayer }),
  };
}

/** What transformers takes where config.json says nothing of the rotation. */
const usualShare = 0.25;

function own(config: HfConfig, settings: HfSettings): Own {
  const { rope, headDim, layers, each, where } = settings;
  const said = config.object('rope_parameters');
  if (
    said &&
    (rope.own === undefined || said.object('sliding_attention')?.raw('partial_rotary_factor') !== undefined)
  ) {
    throw new UnsupportedError({
      found: 'another rotation than that of Gemma 4',
      expected: 'a part of each head (proportional) where all is seen, and whole heads in windows',
      where,
    });
  }
  const share = rope.own?.options.positive('partial_rotary_factor') ?? usualShare;
  const rotated = Math.floor((headDim * share) / 2);
  const windows = windowsOf(config, layers);
  const full = fullLayers(config, windows, { kvHeads: settings.kvHeads });
  const local = each!.find((_, l) => windows[l])?.headDim ?? headDim;
  const cap = config.positive('final_logit_softcapping');
  if (cap === undefined) {
    config.problem(`no final_logit_softcapping, and llama.cpp computes Gemma 4 with ${usualCap}`);
  }
  const changed = new Map<string, Entry[1]>();
  if (config.flag('use_double_wide_mlp', false))
    changed.set('feed_forward_length', i32s(each!.map((one) => one.feedForward)));
  if (full.kvHeads !== undefined) changed.set('attention.head_count_kv', i32s(each!.map((one) => one.kvHeads)));
  const more: Entry[] = [
    ...(cap === undefined ? [] : [['final_logit_softcapping', f32(cap)] as Entry]),
    ['attention.sliding_window', u32(config.whole('sliding_window', limits.context, 512))],
    ['attention.shared_kv_layers', u32(sharedLayers(config))],
    ['embedding_length_per_layer_input', u32(settings.perLayer ?? 0)],
    ['attention.sliding_window_pattern', bools(windows)],
    ['attention.key_length_swa', u32(local)],
    ['attention.value_length_swa', u32(local)],
    ['rope.dimension_count', u32(headDim)],
    ['rope.dimension_count_swa', u32(local)],
  ];
  // A frequency divided by so much turns nothing.
  const factors = Float32Array.from({ length: headDim / 2 }, (_, i) => (i < rotated ? 1 : 1e30));
  return {
    metadata: (common) => [...common.map(([key, value]): Entry => [key, changed.get(key) ?? value]), ...more],
    tensors: [{ name: 'rope_freqs', values: factors }],
  };
}
