import koffi from 'koffi';
import { LoamError } from '../base/errors.js';
import { type LibraryFiles, locateLibraries } from './locate.js';

/**
 * The native boundary: the only file that imports koffi. It declares the C functions of ggml, libllama and the C library that Loam
 * calls, with branded handle types, and nothing else. Signatures and structs are those of the pinned llama.cpp release (v0.4.0:
 * ggml.h, ggml-backend.h, ggml-alloc.h, llama.h). No JavaScript function is ever handed to native code, so nothing can throw there.
 */

declare const brand: unique symbol;
/** Address of a native object. Zero stands for NULL. */
export type Handle<Name extends string> = bigint & { readonly [brand]: Name };
export type ContextHandle = Handle<'ggml_context'>;
export type TensorHandle = Handle<'ggml_tensor'>;
export type GraphHandle = Handle<'ggml_cgraph'>;
export type BackendHandle = Handle<'ggml_backend'>;
export type DeviceHandle = Handle<'ggml_backend_device'>;
export type RegistryHandle = Handle<'ggml_backend_reg'>;
export type BufferTypeHandle = Handle<'ggml_backend_buffer_type'>;
export type BufferHandle = Handle<'ggml_backend_buffer'>;
export type SchedulerHandle = Handle<'ggml_backend_sched'>;
export type ThreadpoolHandle = Handle<'ggml_threadpool'>;
export type ModelHandle = Handle<'llama_model'>;
export type LlamaContextHandle = Handle<'llama_context'>;
export type VocabHandle = Handle<'llama_vocab'>;
export type SamplerHandle = Handle<'llama_sampler'>;
export type AdapterHandle = Handle<'llama_adapter_lora'>;
export type MemoryHandle = Handle<'llama_memory'>;
export type FunctionPointer = Handle<'function'>;

/** Bytes that native code may read or write: a typed array or Buffer of ours, or an address. */
export type Bytes = ArrayBufferView | bigint | null;

/** A declared C function; `.async` runs it on a worker thread of libuv. */
export type NativeFunction<F extends (...args: never[]) => unknown> = F & {
  async(...args: [...Parameters<F>, (error: unknown, result: ReturnType<F>) => void]): void;
};

/** Runs a native function off the event loop. The caller keeps every buffer it passed alive until the promise settles. */
export function callAsync<F extends (...args: never[]) => unknown>(
  fn: NativeFunction<F>,
  ...args: Parameters<F>
): Promise<ReturnType<F>> {
  return new Promise((resolve, reject) => {
    fn.async(...args, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

koffi.struct('ggml_init_params', { mem_size: 'size_t', mem_buffer: 'void*', no_alloc: 'bool' });
koffi.struct('llama_model_params', {
  devices: 'void*',
  tensor_buft_overrides: 'void*',
  n_gpu_layers: 'int32',
  split_mode: 'int',
  load_mode: 'int',
  lazy_mode: 'int',
  main_gpu: 'int32',
  tensor_split: 'void*',
  progress_callback: 'void*',
  progress_callback_user_data: 'void*',
  kv_overrides: 'void*',
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool',
});
koffi.struct('llama_context_params', {
  n_ctx: 'uint32',
  n_batch: 'uint32',
  n_ubatch: 'uint32',
  n_seq_max: 'uint32',
  n_rs_seq: 'uint32',
  n_outputs_max: 'uint32',
  n_outputs_max_per_seq: 'uint32',
  n_threads: 'int32',
  n_threads_batch: 'int32',
  ctx_type: 'int',
  rope_scaling_type: 'int',
  pooling_type: 'int',
  attention_type: 'int',
  flash_attn_type: 'int',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32',
  defrag_thold: 'float',
  cb_eval: 'void*',
  cb_eval_user_data: 'void*',
  type_k: 'int',
  type_v: 'int',
  abort_callback: 'void*',
  abort_callback_data: 'void*',
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: 'void*',
  n_samplers: 'size_t',
  ctx_other: 'void*',
});
koffi.struct('llama_model_imatrix_data', { name: 'str', data: 'void*', size: 'size_t' });
koffi.struct('llama_model_quantize_params', {
  nthread: 'int32',
  ftype: 'int',
  output_tensor_type: 'int',
  token_embedding_type: 'int',
  allow_requantize: 'bool',
  quantize_output_tensor: 'bool',
  only_copy: 'bool',
  pure: 'bool',
  keep_split: 'bool',
  dry_run: 'bool',
  imatrix: 'llama_model_imatrix_data*',
  kv_overrides: 'void*',
  tt_overrides: 'void*',
  prune_layers: 'void*',
  max_buf_size: 'size_t',
});
koffi.struct('llama_sampler_chain_params', { no_perf: 'bool' });
koffi.struct('llama_batch', {
  n_tokens: 'int32',
  token: 'void*',
  embd: 'void*',
  pos: 'void*',
  n_seq_id: 'void*',
  seq_id: 'void*',
  logits: 'void*',
});

/** `struct llama_model_params`, the fields that Loam reads or sets. */
export interface ModelParams {
  n_gpu_layers: number;
  split_mode: number;
  load_mode: number;
  lazy_mode: number;
  vocab_only: boolean;
  check_tensors: boolean;
  use_extra_bufts: boolean;
  [field: string]: unknown;
}

/** `struct llama_context_params`, the fields that Loam reads or sets. */
export interface ContextParams {
  n_ctx: number;
  n_batch: number;
  n_ubatch: number;
  n_seq_max: number;
  n_threads: number;
  n_threads_batch: number;
  flash_attn_type: number;
  type_k: number;
  type_v: number;
  abort_callback: bigint | null;
  abort_callback_data: bigint | null;
  kv_unified: boolean;
  no_perf: boolean;
  [field: string]: unknown;
}

/** `struct llama_model_quantize_params`, the fields that Loam reads or sets. */
export interface QuantizeParams {
  nthread: number;
  ftype: number;
  allow_requantize: boolean;
  pure: boolean;
  quantize_output_tensor: boolean;
  /** A list that ends with an entry without a name. */
  imatrix: readonly { name: string | null; data: Float32Array | null; size: number }[] | null;
  max_buf_size: number;
  [field: string]: unknown;
}

/** `struct llama_batch`: addresses of arrays allocated by llama_batch_init. */
export interface BatchStruct {
  n_tokens: number;
  token: bigint;
  embd: bigint | null;
  pos: bigint;
  n_seq_id: bigint;
  seq_id: bigint;
  logits: bigint;
}

type Library = ReturnType<typeof koffi.load>;

/** koffi gives 64-bit integers as numbers when they are safe and as bigints otherwise. */
type Int64 = number | bigint;

function declare<F extends (...args: never[]) => unknown>(library: Library, signature: string): NativeFunction<F> {
  return library.func(signature) as unknown as NativeFunction<F>;
}

type T = TensorHandle;
type C = ContextHandle;

function declareGgml(base: Library, ggml: Library) {
  const op = <A extends unknown[]>(name: string, ...args: string[]) =>
    declare<(...a: A) => T>(base, `void* ggml_${name}(${args.join(', ')})`);
  const p = 'void*';
  const rope = (name: string) =>
    op<[C, T, T, T | null, number, number, number, number, number, number, number, number, number]>(
      name,
      p,
      p,
      p,
      p,
      'int',
      'int',
      'int',
      'float',
      'float',
      'float',
      'float',
      'float',
      'float',
    );
  return {
    // contexts and tensors
    init: declare<(params: { mem_size: number; mem_buffer: null; no_alloc: boolean }) => C>(
      base,
      'void* ggml_init(ggml_init_params)',
    ),
    free: declare<(c: C) => void>(base, 'void ggml_free(void*)'),
    tensorOverhead: declare<() => Int64>(base, 'size_t ggml_tensor_overhead()'),
    graphOverhead: declare<(size: number, grads: boolean) => Int64>(
      base,
      'size_t ggml_graph_overhead_custom(size_t, bool)',
    ),
    version: declare<() => string>(base, 'str ggml_version()'),
    commit: declare<() => string>(base, 'str ggml_commit()'),
    newTensor: op<[C, number, number, number, number, number]>(
      'new_tensor_4d',
      p,
      'int',
      'int64',
      'int64',
      'int64',
      'int64',
    ),
    nbytes: declare<(t: T) => Int64>(base, 'size_t ggml_nbytes(void*)'),
    setInput: declare<(t: T) => void>(base, 'void ggml_set_input(void*)'),
    setOutput: declare<(t: T) => void>(base, 'void ggml_set_output(void*)'),
    setName: declare<(t: T, name: string) => T>(base, 'void* ggml_set_name(void*, str)'),
    blockSize: declare<(type: number) => Int64>(base, 'int64 ggml_blck_size(int)'),
    typeSize: declare<(type: number) => Int64>(base, 'size_t ggml_type_size(int)'),
    typeName: declare<(type: number) => string>(base, 'str ggml_type_name(int)'),
    quantizeChunk: declare<
      (type: number, src: Bytes, dst: Bytes, start: number, rows: number, perRow: number, imatrix: Bytes) => Int64
    >(base, 'size_t ggml_quantize_chunk(int, void*, void*, int64, int64, int64, void*)'),
    typeTraits: declare<(type: number) => bigint>(base, 'void* ggml_get_type_traits(int)'),
    fp16ToFp32Row: declare<(src: Bytes, dst: Bytes, n: number) => void>(
      base,
      'void ggml_fp16_to_fp32_row(void*, void*, int64)',
    ),
    fp32ToFp16Row: declare<(src: Bytes, dst: Bytes, n: number) => void>(
      base,
      'void ggml_fp32_to_fp16_row(void*, void*, int64)',
    ),

    // operations
    add: op<[C, T, T]>('add', p, p, p),
    addInplace: op<[C, T, T]>('add_inplace', p, p, p),
    sub: op<[C, T, T]>('sub', p, p, p),
    mul: op<[C, T, T]>('mul', p, p, p),
    div: op<[C, T, T]>('div', p, p, p),
    sqr: op<[C, T]>('sqr', p, p),
    sqrt: op<[C, T]>('sqrt', p, p),
    log: op<[C, T]>('log', p, p),
    sum: op<[C, T]>('sum', p, p),
    argmax: op<[C, T]>('argmax', p, p),
    sumRows: op<[C, T]>('sum_rows', p, p),
    repeat: op<[C, T, T]>('repeat', p, p, p),
    repeat4d: op<[C, T, number, number, number, number]>('repeat_4d', p, p, 'int64', 'int64', 'int64', 'int64'),
    pad: op<[C, T, number, number, number, number]>('pad', p, p, 'int', 'int', 'int', 'int'),
    concat: op<[C, T, T, number]>('concat', p, p, p, 'int'),
    scale: op<[C, T, number]>('scale', p, p, 'float'),
    tanh: op<[C, T]>('tanh', p, p),
    silu: op<[C, T]>('silu', p, p),
    rmsNorm: op<[C, T, number]>('rms_norm', p, p, 'float'),
    rmsNormBack: op<[C, T, T, number]>('rms_norm_back', p, p, p, 'float'),
    siluBack: op<[C, T, T]>('silu_back', p, p, p),
    softMaxBack: op<[C, T, T, number, number]>('soft_max_ext_back', p, p, p, 'float', 'float'),
    getRowsBack: op<[C, T, T, T]>('get_rows_back', p, p, p, p),
    adamwStep: op<[C, T, T, T, T, T]>('opt_step_adamw', p, p, p, p, p, p),
    setParameter: declare<(t: T) => void>(base, 'void ggml_set_param(void*)'),
    mulMat: op<[C, T, T]>('mul_mat', p, p, p),
    outProd: op<[C, T, T]>('out_prod', p, p, p),
    copy: op<[C, T, T]>('cpy', p, p, p),
    cont: op<[C, T]>('cont', p, p),
    cast: op<[C, T, number]>('cast', p, p, 'int'),
    reshape: op<[C, T, number, number, number, number]>('reshape_4d', p, p, 'int64', 'int64', 'int64', 'int64'),
    view: op<[C, T, number, number, number, number, number, number, number, number]>(
      'view_4d',
      p,
      p,
      'int64',
      'int64',
      'int64',
      'int64',
      'size_t',
      'size_t',
      'size_t',
      'size_t',
    ),
    permute: op<[C, T, number, number, number, number]>('permute', p, p, 'int', 'int', 'int', 'int'),
    transpose: op<[C, T]>('transpose', p, p),
    getRows: op<[C, T, T]>('get_rows', p, p, p),
    softMaxExt: op<[C, T, T | null, number, number]>('soft_max_ext', p, p, p, 'float', 'float'),
    ropeExt: rope('rope_ext'),
    ropeBack: rope('rope_ext_back'),
    swigluSplit: op<[C, T, T]>('swiglu_split', p, p, p),
    gegluSplit: op<[C, T, T]>('geglu_split', p, p, p),
    flashAttention: op<[C, T, T, T, T | null, number, number, number]>(
      'flash_attn_ext',
      p,
      p,
      p,
      p,
      p,
      'float',
      'float',
      'float',
    ),
    flashAttentionPrecision: declare<(t: T, precision: number) => void>(
      base,
      'void ggml_flash_attn_ext_set_prec(void*, int)',
    ),

    // graphs
    newGraph: declare<(c: C, size: number, grads: boolean) => GraphHandle>(
      base,
      'void* ggml_new_graph_custom(void*, size_t, bool)',
    ),
    buildForward: declare<(g: GraphHandle, t: T) => void>(base, 'void ggml_build_forward_expand(void*, void*)'),
    graphNodes: declare<(g: GraphHandle) => number>(base, 'int ggml_graph_n_nodes(void*)'),

    // backends and devices
    loadBackends: declare<(folder: string) => void>(ggml, 'void ggml_backend_load_all_from_path(str)'),
    deviceCount: declare<() => Int64>(ggml, 'size_t ggml_backend_dev_count()'),
    deviceGet: declare<(i: number) => DeviceHandle>(ggml, 'void* ggml_backend_dev_get(size_t)'),
    deviceName: declare<(d: DeviceHandle) => string>(base, 'str ggml_backend_dev_name(void*)'),
    deviceDescription: declare<(d: DeviceHandle) => string>(base, 'str ggml_backend_dev_description(void*)'),
    deviceType: declare<(d: DeviceHandle) => number>(base, 'int ggml_backend_dev_type(void*)'),
    deviceMemory: declare<(d: DeviceHandle, free: Bytes, total: Bytes) => void>(
      base,
      'void ggml_backend_dev_memory(void*, void*, void*)',
    ),
    deviceInit: declare<(d: DeviceHandle, params: null) => BackendHandle>(
      base,
      'void* ggml_backend_dev_init(void*, void*)',
    ),
    deviceRegistry: declare<(d: DeviceHandle) => RegistryHandle>(base, 'void* ggml_backend_dev_backend_reg(void*)'),
    deviceBufferType: declare<(d: DeviceHandle) => BufferTypeHandle>(base, 'void* ggml_backend_dev_buffer_type(void*)'),
    deviceSupportsOp: declare<(d: DeviceHandle, t: T) => boolean>(
      base,
      'bool ggml_backend_dev_supports_op(void*, void*)',
    ),
    registryName: declare<(r: RegistryHandle) => string>(base, 'str ggml_backend_reg_name(void*)'),
    registryProc: declare<(r: RegistryHandle, name: string) => FunctionPointer | null>(
      base,
      'void* ggml_backend_reg_get_proc_address(void*, str)',
    ),
    backendFree: declare<(b: BackendHandle) => void>(base, 'void ggml_backend_free(void*)'),
    backendBufferType: declare<(b: BackendHandle) => BufferTypeHandle>(
      base,
      'void* ggml_backend_get_default_buffer_type(void*)',
    ),

    // buffers
    bufferTypeAlignment: declare<(b: BufferTypeHandle) => bigint>(
      base,
      'size_t ggml_backend_buft_get_alignment(void*)',
    ),
    bufferTypeName: declare<(b: BufferTypeHandle) => string>(base, 'str ggml_backend_buft_name(void*)'),
    bufferTypeAlloc: declare<(b: BufferTypeHandle, size: number) => BufferHandle | null>(
      base,
      'void* ggml_backend_buft_alloc_buffer(void*, size_t)',
    ),
    bufferFree: declare<(b: BufferHandle) => void>(base, 'void ggml_backend_buffer_free(void*)'),
    bufferSize: declare<(b: BufferHandle) => Int64>(base, 'size_t ggml_backend_buffer_get_size(void*)'),
    bufferSetUsage: declare<(b: BufferHandle, usage: number) => void>(
      base,
      'void ggml_backend_buffer_set_usage(void*, int)',
    ),
    bufferFromPointer: declare<(pointer: bigint, size: number) => BufferHandle>(
      base,
      'void* ggml_backend_cpu_buffer_from_ptr(void*, size_t)',
    ),
    bufferClear: declare<(b: BufferHandle, value: number) => void>(
      base,
      'void ggml_backend_buffer_clear(void*, uint8)',
    ),
    tensorAlloc: declare<(b: BufferHandle, t: T, address: bigint) => number>(
      base,
      'int ggml_backend_tensor_alloc(void*, void*, void*)',
    ),
    allocContextTensors: declare<(c: C, b: BufferTypeHandle) => BufferHandle | null>(
      base,
      'void* ggml_backend_alloc_ctx_tensors_from_buft(void*, void*)',
    ),
    tensorSet: declare<(t: T, data: Bytes, offset: number, size: number) => void>(
      base,
      'void ggml_backend_tensor_set(void*, void*, size_t, size_t)',
    ),
    tensorGet: declare<(t: T, data: Bytes, offset: number, size: number) => void>(
      base,
      'void ggml_backend_tensor_get(void*, void*, size_t, size_t)',
    ),

    // scheduler
    schedulerNew: declare<
      (
        backends: BigUint64Array,
        bufferTypes: BigUint64Array,
        n: number,
        size: number,
        parallel: boolean,
        offload: boolean,
      ) => SchedulerHandle
    >(base, 'void* ggml_backend_sched_new(void*, void*, int, size_t, bool, bool)'),
    schedulerFree: declare<(s: SchedulerHandle) => void>(base, 'void ggml_backend_sched_free(void*)'),
    schedulerReset: declare<(s: SchedulerHandle) => void>(base, 'void ggml_backend_sched_reset(void*)'),
    schedulerAlloc: declare<(s: SchedulerHandle, g: GraphHandle) => boolean>(
      base,
      'bool ggml_backend_sched_alloc_graph(void*, void*)',
    ),
    schedulerCompute: declare<(s: SchedulerHandle, g: GraphHandle) => number>(
      base,
      'int ggml_backend_sched_graph_compute(void*, void*)',
    ),
    schedulerSplits: declare<(s: SchedulerHandle) => number>(base, 'int ggml_backend_sched_get_n_splits(void*)'),
    schedulerBufferSize: declare<(s: SchedulerHandle, b: BackendHandle) => Int64>(
      base,
      'size_t ggml_backend_sched_get_buffer_size(void*, void*)',
    ),
    threadpoolParamsInit: declare<(params: Bytes, threads: number) => void>(
      base,
      'void ggml_threadpool_params_init(void*, int)',
    ),

    // logging and native helpers used as callbacks (see abortFlag.ts, engine.ts)
    logSet: declare<(callback: bigint | null, data: null) => void>(base, 'void ggml_log_set(void*, void*)'),
    isEmptyAddress: base.symbol('ggml_is_empty') as FunctionPointer,
    timeInitAddress: base.symbol('ggml_time_init') as FunctionPointer,
  };
}

function declareLlama(llama: Library) {
  const p = 'void*';
  return {
    version: declare<() => string>(llama, 'str llama_version()'),
    backendInit: declare<() => void>(llama, 'void llama_backend_init()'),
    logSet: declare<(callback: bigint | null, data: null) => void>(llama, 'void llama_log_set(void*, void*)'),
    modelDefaultParams: declare<() => ModelParams>(llama, 'llama_model_params llama_model_default_params()'),
    contextDefaultParams: declare<() => ContextParams>(llama, 'llama_context_params llama_context_default_params()'),
    quantizeDefaultParams: declare<() => QuantizeParams>(
      llama,
      'llama_model_quantize_params llama_model_quantize_default_params()',
    ),
    modelLoad: declare<(path: string, params: ModelParams) => ModelHandle | null>(
      llama,
      'void* llama_model_load_from_file(str, llama_model_params)',
    ),
    modelFree: declare<(m: ModelHandle) => void>(llama, 'void llama_model_free(void*)'),
    modelVocab: declare<(m: ModelHandle) => VocabHandle>(llama, 'void* llama_model_get_vocab(void*)'),
    modelContextTrain: declare<(m: ModelHandle) => number>(llama, 'int llama_model_n_ctx_train(void*)'),
    modelQuantize: declare<(input: string, output: string, params: QuantizeParams) => number>(
      llama,
      'uint32 llama_model_quantize(str, str, llama_model_quantize_params*)',
    ),
    contextNew: declare<(m: ModelHandle, params: ContextParams) => LlamaContextHandle | null>(
      llama,
      'void* llama_init_from_model(void*, llama_context_params)',
    ),
    contextFree: declare<(c: LlamaContextHandle) => void>(llama, 'void llama_free(void*)'),
    contextMemory: declare<(c: LlamaContextHandle) => MemoryHandle>(llama, 'void* llama_get_memory(void*)'),
    memoryClear: declare<(m: MemoryHandle, data: boolean) => void>(llama, 'void llama_memory_clear(void*, bool)'),
    memorySequenceRemove: declare<(m: MemoryHandle, seq: number, from: number, to: number) => boolean>(
      llama,
      'bool llama_memory_seq_rm(void*, int32, int32, int32)',
    ),
    batchInit: declare<(tokens: number, embd: number, sequences: number) => BatchStruct>(
      llama,
      'llama_batch llama_batch_init(int32, int32, int32)',
    ),
    batchFree: declare<(b: BatchStruct) => void>(llama, 'void llama_batch_free(llama_batch)'),
    decode: declare<(c: LlamaContextHandle, b: BatchStruct) => number>(llama, 'int32 llama_decode(void*, llama_batch)'),
    logits: declare<(c: LlamaContextHandle) => bigint | null>(llama, `${p} llama_get_logits(void*)`),
    logitsOf: declare<(c: LlamaContextHandle, i: number) => bigint | null>(
      llama,
      `${p} llama_get_logits_ith(void*, int32)`,
    ),
    setAbortCallback: declare<(c: LlamaContextHandle, f: bigint, data: bigint) => void>(
      llama,
      'void llama_set_abort_callback(void*, void*, void*)',
    ),
    adapterLoad: declare<(m: ModelHandle, path: string) => AdapterHandle | null>(
      llama,
      'void* llama_adapter_lora_init(void*, str)',
    ),
    adapterFree: declare<(a: AdapterHandle) => void>(llama, 'void llama_adapter_lora_free(void*)'),
    setAdapters: declare<(c: LlamaContextHandle, adapters: BigUint64Array, n: number, scales: Float32Array) => number>(
      llama,
      'int32 llama_set_adapters_lora(void*, void*, size_t, void*)',
    ),
    vocabType: declare<(v: VocabHandle) => number>(llama, 'int llama_vocab_type(void*)'),
    vocabSize: declare<(v: VocabHandle) => number>(llama, 'int32 llama_vocab_n_tokens(void*)'),
    vocabText: declare<(v: VocabHandle, token: number) => string>(llama, 'str llama_vocab_get_text(void*, int32)'),
    vocabIsEog: declare<(v: VocabHandle, token: number) => boolean>(llama, 'bool llama_vocab_is_eog(void*, int32)'),
    vocabIsControl: declare<(v: VocabHandle, token: number) => boolean>(
      llama,
      'bool llama_vocab_is_control(void*, int32)',
    ),
    vocabBos: declare<(v: VocabHandle) => number>(llama, 'int32 llama_vocab_bos(void*)'),
    vocabEos: declare<(v: VocabHandle) => number>(llama, 'int32 llama_vocab_eos(void*)'),
    vocabEot: declare<(v: VocabHandle) => number>(llama, 'int32 llama_vocab_eot(void*)'),
    vocabAddBos: declare<(v: VocabHandle) => boolean>(llama, 'bool llama_vocab_get_add_bos(void*)'),
    vocabAddEos: declare<(v: VocabHandle) => boolean>(llama, 'bool llama_vocab_get_add_eos(void*)'),
    tokenize: declare<
      (
        v: VocabHandle,
        text: Bytes,
        length: number,
        out: Int32Array,
        max: number,
        special: boolean,
        parse: boolean,
      ) => number
    >(llama, 'int32 llama_tokenize(void*, void*, int32, void*, int32, bool, bool)'),
    tokenToPiece: declare<
      (v: VocabHandle, token: number, out: Bytes, length: number, lstrip: number, special: boolean) => number
    >(llama, 'int32 llama_token_to_piece(void*, int32, void*, int32, int32, bool)'),

    samplerChain: declare<(params: { no_perf: boolean }) => SamplerHandle>(
      llama,
      'void* llama_sampler_chain_init(llama_sampler_chain_params)',
    ),
    samplerAdd: declare<(chain: SamplerHandle, s: SamplerHandle) => void>(
      llama,
      'void llama_sampler_chain_add(void*, void*)',
    ),
    samplerFree: declare<(s: SamplerHandle) => void>(llama, 'void llama_sampler_free(void*)'),
    samplerGreedy: declare<() => SamplerHandle>(llama, 'void* llama_sampler_init_greedy()'),
    samplerDist: declare<(seed: number) => SamplerHandle>(llama, 'void* llama_sampler_init_dist(uint32)'),
    samplerTopK: declare<(k: number) => SamplerHandle>(llama, 'void* llama_sampler_init_top_k(int32)'),
    samplerTopP: declare<(p: number, keep: number) => SamplerHandle>(
      llama,
      'void* llama_sampler_init_top_p(float, size_t)',
    ),
    samplerMinP: declare<(p: number, keep: number) => SamplerHandle>(
      llama,
      'void* llama_sampler_init_min_p(float, size_t)',
    ),
    samplerTemperature: declare<(t: number) => SamplerHandle>(llama, 'void* llama_sampler_init_temp(float)'),
    samplerPenalties: declare<
      (vocabulary: number, last: number, repeat: number, frequency: number, presence: number) => SamplerHandle
    >(llama, 'void* llama_sampler_init_penalties(int32, int32, float, float, float)'),
    sample: declare<(s: SamplerHandle, c: LlamaContextHandle, i: number) => number>(
      llama,
      'int32 llama_sampler_sample(void*, void*, int32)',
    ),
  };
}

export type Ggml = ReturnType<typeof declareGgml>;
export type Llama = ReturnType<typeof declareLlama>;

export interface Native {
  files: LibraryFiles;
  ggml: Ggml;
  llama: Llama;
}

/** Byte size of `struct ggml_tensor` plus its object header in the pinned release; tensor.ts relies on this layout. */
const expectedTensorOverhead = 368;

let loaded: Native | undefined;

/** Loads the libraries once a process. Throws LoamError where they are missing or are of another layout than this build knows. */
export function native(): Native {
  if (loaded) return loaded;
  const files = locateLibraries();
  // A native abort would otherwise start a debugger to print a backtrace (ggml.c, ggml_print_backtrace).
  process.env.GGML_NO_BACKTRACE ??= '1';
  try {
    const base = koffi.load(files.base, { global: true });
    const ggml = koffi.load(files.ggml, { global: true });
    const llama = koffi.load(files.llama, { global: true });
    loaded = { files, ggml: declareGgml(base, ggml), llama: declareLlama(llama) };
  } catch (error) {
    throw new LoamError(
      {
        found: `the engine libraries can't be loaded: ${(error as Error).message}`,
        where: files.folder,
        fix: 'reinstall Loam, or point LOAM_GGML_DIR at a llama.cpp v0.4.0 build for this system',
      },
      { cause: error },
    );
  }
  checkLayout(loaded);
  if (!process.env.LOAM_NATIVE_LOG) {
    // `ggml_time_init` takes no argument and does nothing on a second call, which makes it a log callback that stays silent
    // on any thread without entering JavaScript.
    loaded.ggml.logSet(loaded.ggml.timeInitAddress, null);
    loaded.llama.logSet(loaded.ggml.timeInitAddress, null);
  }
  loaded.ggml.loadBackends(files.folder);
  loaded.llama.backendInit();
  return loaded;
}

/** Defaults that a struct of another layout would not show at these places: a foreign build is refused before it can corrupt memory. */
function checkLayout({ files, ggml, llama }: Native): void {
  const model = llama.modelDefaultParams();
  const context = llama.contextDefaultParams();
  const quantize = llama.quantizeDefaultParams();
  const sound =
    Number(ggml.tensorOverhead()) === expectedTensorOverhead &&
    model.n_gpu_layers === -1 &&
    model.split_mode === 1 &&
    model.load_mode === -1 &&
    model.use_extra_bufts === true &&
    model.vocab_only === false &&
    context.n_ctx === 512 &&
    context.n_batch === 2048 &&
    context.n_ubatch === 512 &&
    context.flash_attn_type === -1 &&
    context.type_k === 1 &&
    context.type_v === 1 &&
    context.yarn_beta_fast === -1 &&
    context.offload_kqv === true &&
    quantize.ftype === 7 &&
    quantize.allow_requantize === false &&
    quantize.quantize_output_tensor === true &&
    quantize.dry_run === false &&
    // LLAMA_QUANT_MAX_BUF_SIZE, the last field.
    Number(quantize.max_buf_size) === 8 * 1024 ** 3;
  if (!sound) {
    throw new LoamError({
      found: `these libraries (ggml ${ggml.version()}) lay out their structures differently`,
      expected: 'a build of llama.cpp v0.4.0',
      where: files.folder,
      fix: 'unset LOAM_GGML_DIR, or point it at a build of that release',
    });
  }
}

/** Calls a function known only by address (from `ggml_backend_reg_get_proc_address`). */
export function callPointer(pointer: bigint, prototype: string, ...args: unknown[]): unknown {
  let type = prototypes.get(prototype);
  if (!type) {
    type = koffi.proto(prototype);
    prototypes.set(prototype, type);
  }
  return koffi.call(pointer, type, ...args);
}
const prototypes = new Map<string, ReturnType<typeof koffi.proto>>();

/** A JavaScript function as a native one, for callers on this thread only; it lives until the process ends. */
export function functionForever(prototype: string, f: (...args: never[]) => unknown): bigint {
  return koffi.address(koffi.register(f, koffi.pointer(koffi.proto(prototype))));
}

/** Bytes of native memory as an ArrayBuffer; valid only while their owner lives. */
export function viewMemory(address: bigint, bytes: number): ArrayBuffer {
  return koffi.view(address, bytes);
}

/** Reads the pointer stored at `address`. */
export function readPointer(address: bigint): bigint {
  return (koffi.decode(address, 'void*') as bigint | null) ?? 0n;
}

/** Writes a pointer to `address`. */
export function writePointer(address: bigint, value: bigint): void {
  koffi.encode(address, 'void*', value === 0n ? null : value);
}

/** Reads a NUL-terminated string. */
export function readString(address: bigint): string {
  return koffi.decode.string(address);
}

/** Memory mapping functions of the C library (POSIX) or kernel32 (Windows); see mapFile.ts. */
export function systemLibrary(
  name: string | null,
): <F extends (...args: never[]) => unknown>(s: string) => NativeFunction<F> {
  const library = koffi.load(name);
  return (signature) => declare(library, signature);
}

/** Allocates `bytes` zeroed bytes that live until the process ends. */
export function allocateForever(bytes: number): bigint {
  return koffi.address(koffi.alloc('uint8', bytes));
}
