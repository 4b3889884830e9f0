import {
  bool,
  bytes,
  float,
  fn,
  type Handle,
  handle,
  i32,
  i64,
  inout,
  int,
  type Library,
  none,
  orNull,
  pointer,
  pointerTo,
  size,
  string,
  struct,
  u32,
} from './ffi.js';

/** The functions of libllama that Loam calls, as llama.h of llama.cpp v0.4.0 and v0.5.0 declares them. */

export type ModelHandle = Handle<'llama_model'>;
export type LlamaContextHandle = Handle<'llama_context'>;
export type VocabHandle = Handle<'llama_vocab'>;
export type SamplerHandle = Handle<'llama_sampler'>;
export type AdapterHandle = Handle<'llama_adapter_lora'>;

const model = handle<ModelHandle>();
const context = handle<LlamaContextHandle>();
const memory = handle<Handle<'llama_memory'>>();
const vocab = handle<VocabHandle>();
const sampler = handle<SamplerHandle>();
const adapter = handle<AdapterHandle>();
/** An array that llama_batch_init has allocated. */
const array = handle<bigint>();

const modelParams = struct('llama_model_params', {
  devices: pointer,
  tensor_buft_overrides: pointer,
  n_gpu_layers: i32,
  split_mode: int,
  load_mode: int,
  lazy_mode: int,
  main_gpu: i32,
  tensor_split: pointer,
  progress_callback: pointer,
  progress_callback_user_data: pointer,
  kv_overrides: pointer,
  vocab_only: bool,
  check_tensors: bool,
  use_extra_bufts: bool,
  no_host: bool,
  no_alloc: bool,
  load_mtp: bool,
});
const contextParams = struct('llama_context_params', {
  n_ctx: u32,
  n_batch: u32,
  n_ubatch: u32,
  n_seq_max: u32,
  n_rs_seq: u32,
  n_outputs_max: u32,
  n_outputs_max_per_seq: u32,
  n_threads: i32,
  n_threads_batch: i32,
  ctx_type: int,
  rope_scaling_type: int,
  pooling_type: int,
  attention_type: int,
  flash_attn_type: int,
  rope_freq_base: float,
  rope_freq_scale: float,
  yarn_ext_factor: float,
  yarn_attn_factor: float,
  yarn_beta_fast: float,
  yarn_beta_slow: float,
  yarn_orig_ctx: u32,
  defrag_thold: float,
  cb_eval: pointer,
  cb_eval_user_data: pointer,
  type_k: int,
  type_v: int,
  abort_callback: pointer,
  abort_callback_data: pointer,
  embeddings: bool,
  offload_kqv: bool,
  no_perf: bool,
  op_offload: bool,
  swa_full: bool,
  kv_unified: bool,
  samplers: pointer,
  n_samplers: size,
  ctx_other: pointer,
});
/** An entry without a name ends an array of them. */
const imatrixData = struct('llama_model_imatrix_data', { name: orNull(string), data: bytes, size });
const quantizeParams = struct('llama_model_quantize_params', {
  nthread: i32,
  ftype: int,
  output_tensor_type: int,
  token_embedding_type: int,
  allow_requantize: bool,
  quantize_output_tensor: bool,
  only_copy: bool,
  pure: bool,
  keep_split: bool,
  dry_run: bool,
  imatrix: pointerTo(imatrixData),
  kv_overrides: pointer,
  tt_overrides: pointer,
  prune_layers: pointer,
  max_buf_size: size,
});
const samplerChainParams = struct('llama_sampler_chain_params', { no_perf: bool });
const logitBias = struct('llama_logit_bias', { token: i32, bias: float });
/** Entries of 12 bytes: token (i32), logit (f32), probability (f32). */
const tokenDataArray = struct('llama_token_data_array', { data: bytes, size, selected: i64, sorted: bool });
/** Tokens or, instead of them, embeddings. */
const batch = struct('llama_batch', {
  n_tokens: i32,
  token: array,
  embd: pointer,
  pos: array,
  n_seq_id: array,
  seq_id: array,
  logits: array,
});

const functions = {
  version: fn('llama_version', string, []),
  backendInit: fn('llama_backend_init', none, []),
  /** A callback and its data. */
  logSet: fn('llama_log_set', none, [pointer, pointer]),
  modelDefaultParams: fn('llama_model_default_params', modelParams, []),
  contextDefaultParams: fn('llama_context_default_params', contextParams, []),
  quantizeDefaultParams: fn('llama_model_quantize_default_params', quantizeParams, []),
  modelLoad: fn('llama_model_load_from_file', orNull(model), [string, modelParams]),
  modelFree: fn('llama_model_free', none, [model]),
  modelVocab: fn('llama_model_get_vocab', vocab, [model]),
  /** Key of the metadata, room for its value as text and its bytes; returns the text's length, or -1. */
  modelText: fn('llama_model_meta_val_str', i32, [model, string, bytes, size]),
  modelQuantize: fn('llama_model_quantize', u32, [string, string, pointerTo(quantizeParams)]),
  contextNew: fn('llama_init_from_model', orNull(context), [model, contextParams]),
  contextFree: fn('llama_free', none, [context]),
  contextMemory: fn('llama_get_memory', memory, [context]),
  memoryClear: fn('llama_memory_clear', none, [memory, bool]),
  /** From a sequence to another; from position, to position (-1: all). */
  memorySequenceCopy: fn('llama_memory_seq_cp', none, [memory, i32, i32, i32, i32]),
  /** Sequence, from position, to position (-1: all). */
  memorySequenceRemove: fn('llama_memory_seq_rm', bool, [memory, i32, i32, i32]),
  /** Tokens; length of embeddings, if not tokens; sequences per token. */
  batchInit: fn('llama_batch_init', batch, [i32, i32, i32]),
  batchFree: fn('llama_batch_free', none, [batch]),
  decode: fn('llama_decode', i32, [context, batch]),
  logits: fn('llama_get_logits', pointer, [context]),
  /** Whether hidden states are given out, of every token that is read. */
  setEmbeddings: fn('llama_set_embeddings', none, [context, bool]),
  embeddings: fn('llama_get_embeddings', pointer, [context]),
  /** Of one output; -1 is the last. */
  logitsOf: fn('llama_get_logits_ith', pointer, [context, i32]),
  setAbortCallback: fn('llama_set_abort_callback', none, [context, pointer, pointer]),
  adapterLoad: fn('llama_adapter_lora_init', orNull(adapter), [model, string]),
  adapterFree: fn('llama_adapter_lora_free', none, [adapter]),
  /** Adapters, how many, their scales. */
  setAdapters: fn('llama_set_adapters_lora', i32, [context, bytes, size, bytes]),
  modelWidth: fn('llama_model_n_embd_out', i32, [model]),
  /** A value of `enum llama_rope_type`. */
  modelRopeType: fn('llama_model_rope_type', int, [model]),
  /** Whether some layers, or all, hold a state instead of keys and values. */
  modelIsHybrid: fn('llama_model_is_hybrid', bool, [model]),
  modelIsRecurrent: fn('llama_model_is_recurrent', bool, [model]),
  vocabSize: fn('llama_vocab_n_tokens', i32, [vocab]),
  vocabIsEog: fn('llama_vocab_is_eog', bool, [vocab, i32]),
  vocabIsControl: fn('llama_vocab_is_control', bool, [vocab, i32]),
  vocabBos: fn('llama_vocab_bos', i32, [vocab]),
  vocabEos: fn('llama_vocab_eos', i32, [vocab]),
  vocabEot: fn('llama_vocab_eot', i32, [vocab]),
  /** Marks of filling in the middle: before the prefix, the suffix and what is to be written; -1 if there is none. */
  vocabFimPre: fn('llama_vocab_fim_pre', i32, [vocab]),
  vocabFimSuf: fn('llama_vocab_fim_suf', i32, [vocab]),
  vocabFimMid: fn('llama_vocab_fim_mid', i32, [vocab]),
  vocabAddBos: fn('llama_vocab_get_add_bos', bool, [vocab]),
  /** Text and its bytes, room for tokens and how many; whether to add BOS and EOS, whether to parse control tokens. */
  tokenize: fn('llama_tokenize', i32, [vocab, bytes, i32, bytes, i32, bool, bool]),
  /** Token, room and its bytes; leading spaces to strip, whether to show control tokens. */
  tokenToPiece: fn('llama_token_to_piece', i32, [vocab, i32, bytes, i32, i32, bool]),

  samplerChain: fn('llama_sampler_chain_init', sampler, [samplerChainParams]),
  samplerAdd: fn('llama_sampler_chain_add', none, [sampler, sampler]),
  samplerFree: fn('llama_sampler_free', none, [sampler]),
  samplerGreedy: fn('llama_sampler_init_greedy', sampler, []),
  samplerDist: fn('llama_sampler_init_dist', sampler, [u32]),
  /** Share, and how many tokens to keep at least. */
  samplerTopK: fn('llama_sampler_init_top_k', sampler, [i32]),
  samplerTopP: fn('llama_sampler_init_top_p', sampler, [float, size]),
  samplerMinP: fn('llama_sampler_init_min_p', sampler, [float, size]),
  samplerTemperature: fn('llama_sampler_init_temp', sampler, [float]),
  /** Vocabulary, tokens looked back on; penalties for repetition, frequency, presence. */
  samplerPenalties: fn('llama_sampler_init_penalties', sampler, [i32, i32, float, float, float]),
  /** Vocabulary, how many, the entries. */
  samplerLogitBias: fn('llama_sampler_init_logit_bias', sampler, [i32, i32, pointerTo(logitBias)]),
  /** Grammar in GBNF, and its first rule. */
  samplerGrammar: fn('llama_sampler_init_grammar', orNull(sampler), [vocab, string, string]),
  samplerApply: fn('llama_sampler_apply', none, [sampler, inout(tokenDataArray)]),
  samplerAccept: fn('llama_sampler_accept', none, [sampler, i32]),
  sample: fn('llama_sampler_sample', i32, [sampler, context, i32]),
};

export const bindLlama = (library: Library) => library.functions(functions);
