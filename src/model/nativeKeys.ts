import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import type { Family } from '../families/family.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { describeValue, type GgufValue } from '../formats/gguf/values.js';

/**
 * The metadata that libllama reads by itself, with the C type it reads each key as: another type is an assertion that ends the process,
 * or an exception. All keys are here that the pinned release knows (llama-arch.cpp, LLM_KV_NAMES) but those of the tokeniser. What a key
 * asks for that Loam does not compute is refused: the graph of libllama would differ, or abort for want of a tensor.
 */

type Kind = 'u16' | 'u32' | 'i32' | 'f32' | 'bool' | 'string' | 'u32s' | 'i32s' | 'strings';

/** `each`: one value a layer may stand in an array. */
interface Read {
  readonly kind: Kind;
  readonly each?: true;
  /** An array of a length of its own. */
  readonly list?: true;
  /** Those in an array may be true or false as well. */
  readonly truths?: true;
}

const all = (kind: Kind, keys: string): [string, Read][] => keys.split(' ').map((key) => [key, { kind }]);

/** Keys of any model, by their whole name. */
const general: ReadonlyMap<string, Read> = new Map<string, Read>([
  ...all('string', 'general.architecture general.type general.name tokenizer.chat_template'),
  ...all('u32', 'general.file_type general.quantization_version general.alignment'),
  ...all('u16', 'split.no split.count'),
  ...all('i32', 'split.tensors.count'),
]);

/** Keys behind the family's name that say something to Loam too, or nothing to either. */
const used: ReadonlyMap<string, Read> = new Map<string, Read>([
  ...all('u32', 'block_count context_length embedding_length vocab_size'),
  ...all('u32', 'attention.key_length attention.value_length attention.key_length_swa attention.value_length_swa'),
  ...all('u32', 'attention.sliding_window attention.sliding_window_pattern'),
  ...all('u32', 'rope.dimension_count rope.dimension_count_swa rope.scaling.original_context_length'),
  ...['feed_forward_length', 'attention.head_count', 'attention.head_count_kv'].map((key): [string, Read] => [
    key,
    { kind: 'u32', each: true },
  ]),
  ...all('f32', 'attention.layer_norm_rms_epsilon attention.layer_norm_epsilon attention.scale'),
  ...all('f32', 'rope.freq_base rope.freq_base_swa rope.scale_linear rope.scaling.factor rope.scaling.attn_factor'),
  ...all('f32', 'rope.scaling.yarn_beta_fast rope.scaling.yarn_beta_slow rope.scaling.yarn_log_multiplier'),
  ...all('f32', 'embedding_scale residual_scale logit_scale'),
  ...all('string', 'rope.scaling.type tensor_data_layout hidden_activation'),
  ...all('bool', 'rope.scaling.finetuned'),
  // Granite 4's dense models carry the sizes of parts that they do not have.
  ...all('u32', 'ssm.conv_kernel ssm.inner_size ssm.state_size ssm.time_step_rank ssm.group_count'),
  ...all('u32', 'expert_shared_feed_forward_length'),
]);

/** Keys behind the family's name that change what libllama computes: only the value that changes nothing is taken. */
const neutral: ReadonlyMap<string, string | number | boolean> = new Map<string, string | number | boolean>([
  ['attention.causal', true],
  ['rope.scaling.yarn_ext_factor', -1],
  ['rope.scaling.yarn_attn_factor', 1],
  ['attention.output_scale', 1],
  ['attention.value_scale', 1],
  ['expert_weights_scale', 1],
]);

/** Keys behind the family's name that are of other families: 0 and false change nothing. */
const foreign: ReadonlySet<string> = new Set(
  `embedding_length_out embedding_length_per_layer_input features_length leading_dense_block_count attn_res.block_size
  activation.situ_beta activation.situ_linear_beta expert_feed_forward_length expert_chunk_feed_forward_length swiglu_clamp_exp
  swiglu_clamp_shexp use_parallel_residual expert_count expert_used_count expert_shared_count expert_group_count
  expert_group_used_count expert_weights_norm expert_latent_length expert_gating_func expert_group_scale experts_per_group
  moe_every_n_layers moe_latent_size nextn_predict_layers n_deepstack_layers deepstack_mapping pooling_type decoder_start_token_id
  decoder_block_count attn_logit_softcapping router_logit_softcapping final_logit_softcapping swin_norm rescale_every_n_layers
  time_mix_extra_dim time_decay_extra_dim adapters.count adapters.lora_rank adapters.router_gain adapters.token_ids_activate
  adapters.token_ids_substitute token_shift_count interleave_moe_layer_step full_attention_interval num_loops skip_loop_final_norm
  attention.max_alibi_bias attention.clamp_kqv attention.q_lora_rank attention.kv_lora_rank attention.decay_lora_rank
  attention.iclr_lora_rank attention.gate_lora_rank attention.value_residual_mix_lora_rank attention.rope_pattern
  attention.key_length_mla attention.value_length_mla attention.key_length_mla_swa attention.value_length_mla_swa
  attention.kv_lora_rank_swa attention.indexer.top_k attention.indexer.types attention.indexer.head_count
  attention.indexer.key_length attention.indexer.block_size attention.indexer.local_blocks attention.output_lora_rank
  attention.output_group_count attention.compress_ratios attention.compress_rope_freq_base attention.shared_kv_layers
  attention.recurrent_layers attention.group_norm_epsilon attention.group_norm_groups attention.relative_buckets_count
  attention.temperature_length attention.temperature_scale hyper_connection.count hyper_connection.epsilon hyper_connection.low_rank
  hyper_connection.sinkhorn_iterations ple.layers ple.ngram_size ple.heads_per_ngram ple.conv_kernel ple.layer_multipliers
  ple.head_offsets ple.head_vocab_sizes ple.eos_token_id ple.image_token_id hash_layer_count rope.dimension_sections
  rope.scaling.alpha ssm.dt_b_c_rms kda.head_dim kda.safe_gate kda.gate_lower_bound wkv.head_size posnet.embedding_length
  posnet.block_count convnext.embedding_length convnext.block_count classifier.output_labels target_layers target_hidden_size
  norm_before_residual norm_before_fc block_size conv_kernel_size conv_group_size selector_rank selector_top_k shortconv.l_cache
  dense_2_feat_in dense_2_feat_out dense_3_feat_in dense_3_feat_out`.split(/\s+/),
);

/** All of them, for the tests. */
export const nativeParts: readonly string[] = [...used.keys(), ...neutral.keys(), ...foreign];

/** `LLAMA_MAX_LAYERS` of llama-hparams.h. */
const maxLayers = 512;

/** Whether a value is stored as libllama reads it. */
function isStored(value: GgufValue, { kind, each, list, truths }: Read, layers: number): boolean {
  if (value.type !== 'array') return value.type === kind && !list;
  if (list) return value.of === 'u32' || value.of === 'i32';
  // Whole numbers of either sign are read alike (llama-model-loader.cpp, get_arr).
  const fits = value.of === 'u32' || value.of === 'i32' || (truths === true && value.of === 'bool');
  return each === true && fits && value.value.length === layers;
}

/** A list is read by its element type, even an empty one, and zeros in one may count layers. */
const isNothing = (value: GgufValue): boolean => value.type !== 'array' && !value.value;

const kindName = ({ kind, each, list }: Read, layers: number): string =>
  list ? `an array of ${kind}` : each ? `a ${kind}, or an array of one for each of the ${layers} layers` : `a ${kind}`;

/** Checks the types of the keys that any model has. @throws LoamError that lists every mismatch */
export function checkGeneralKeys(gguf: Gguf): void {
  const problems: string[] = [];
  for (const [key, value] of gguf.metadata) {
    const read = general.get(key);
    if (read && !isStored(value, read, 0)) problems.push(`${key} is ${describeValue(value)}, expected a ${read.kind}`);
  }
  refuse(gguf.path, problems);
}

/**
 * Checks every key that libllama reads of a model but those of its tokeniser: the stored type, and that nothing is asked for that Loam
 * does not compute.
 * @throws LoamError that lists every mismatch, UnsupportedError for a variant
 */
export function checkNativeKeys(gguf: Gguf, family: Pick<Family, 'name' | 'block'>): void {
  const { name, block } = family;
  const layers = gguf.number(`${name}.block_count`);
  const problems: string[] = [];
  const variants: string[] = [];
  for (const [key, value] of gguf.metadata) {
    const part = key.startsWith(`${name}.`) ? key.slice(name.length + 1) : undefined;
    const own = part === undefined ? undefined : ownKey(block, part);
    const read = part === undefined ? general.get(key) : (own ?? used.get(part));
    if (read) {
      if (!isStored(value, read, layers))
        problems.push(`${key} is ${describeValue(value)}, expected ${kindName(read, layers)}`);
    } else if (part !== undefined && foreign.has(part)) {
      if (!isNothing(value)) variants.push(`${key} = ${shown(value)}`);
    } else if (part !== undefined && neutral.has(part)) {
      const unused = value.value === neutral.get(part) || (part !== 'attention.causal' && isNothing(value));
      if (!unused) variants.push(`${key} = ${shown(value)}`);
    }
  }
  if (layers > maxLayers) problems.push(`${name}.block_count is ${layers}, expected at most ${maxLayers}`);
  refuse(gguf.path, problems);
  if (variants.length === 0) return;
  throw new UnsupportedError({
    found: `a model that asks for more than Loam computes: ${listFirst(variants, 3, ', ')}`,
    expected: 'a dense model as first published',
    where: gguf.path,
    fix: 'choose a model that `loam models list` does not mark as unsupported',
  });
}

const shown = (value: GgufValue): string =>
  value.type === 'array' ? `an array of ${value.value.length}` : quote(String(value.value)).slice(1, -1);

/** Layer by layer, whether it has a delta net. */
export const recurrentLayers = 'attention.recurrent_layers';

/** A key that is read for this family alone. */
function ownKey({ temperature, convolution, deltaNet, ...block }: Family['block'], part: string): Read | undefined {
  if (block.local?.period === 'listed') {
    if (part === 'attention.sliding_window_pattern') return { kind: 'u32', each: true, truths: true };
    if (part === 'attention.shared_kv_layers') return { kind: 'u32' };
  }
  if (block.perLayerEmbeddings && part === 'embedding_length_per_layer_input') return { kind: 'u32' };
  if (block.logitCap !== undefined && part === 'final_logit_softcapping') return { kind: 'f32' };
  if (part === temperature) return { kind: 'f32' };
  if (deltaNet && part === 'rope.dimension_sections') return { kind: 'i32', list: true };
  if (deltaNet && part === recurrentLayers) return { kind: 'u32', each: true, truths: true };
  if (deltaNet && (part === 'full_attention_interval' || part === 'nextn_predict_layers')) return { kind: 'u32' };
  return part === convolution?.taps ? { kind: 'u32' } : undefined;
}

/** Throws what is wrong with a model's metadata as one error; nothing if there is nothing. */
export function refuse(path: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new LoamError({
    code: 'damaged',
    found: `metadata that libllama cannot read: ${listFirst(problems)}`,
    where: path,
    fix: 'fetch the model again, or use a file made by llama.cpp',
  });
}
