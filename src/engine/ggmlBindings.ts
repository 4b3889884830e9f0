import {
  bool,
  bytes,
  float,
  fn,
  type Handle,
  handle,
  i64,
  int,
  type Library,
  none,
  orNull,
  pointer,
  size,
  string,
  struct,
  u8,
} from './ffi.js';

/** The functions of ggml that Loam calls, as ggml.h, ggml-backend.h and ggml-alloc.h of llama.cpp v0.4.0 and v0.5.0 declare them. */

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

const context = handle<ContextHandle>();
const tensor = handle<TensorHandle>();
const graph = handle<GraphHandle>();
const backend = handle<BackendHandle>();
const device = handle<DeviceHandle>();
const registry = handle<RegistryHandle>();
const bufferType = handle<BufferTypeHandle>();
const buffer = handle<BufferHandle>();
const scheduler = handle<SchedulerHandle>();
const threadpool = handle<ThreadpoolHandle>();

const initParams = struct('ggml_init_params', { mem_size: size, mem_buffer: pointer, no_alloc: bool });

/** A function that adds an operation to a context and returns its result. */
const op = <const P extends readonly Parameters<typeof fn>[2][number][]>(name: string, ...parameters: P) =>
  fn(`ggml_${name}`, tensor, [context, ...parameters] as const);

/** Positions, factors; dimensions, mode, original context; base, scale, extension, attention, beta fast and slow. */
const rope = (name: string) =>
  op(name, tensor, tensor, orNull(tensor), int, int, int, float, float, float, float, float, float);

const baseFunctions = {
  // contexts and tensors
  init: fn('ggml_init', context, [initParams]),
  free: fn('ggml_free', none, [context]),
  tensorOverhead: fn('ggml_tensor_overhead', size, []),
  graphOverhead: fn('ggml_graph_overhead_custom', size, [size, bool]),
  version: fn('ggml_version', string, []),
  commit: fn('ggml_commit', string, []),
  newTensor: op('new_tensor_4d', int, i64, i64, i64, i64),
  setInput: fn('ggml_set_input', none, [tensor]),
  setOutput: fn('ggml_set_output', none, [tensor]),
  setParameter: fn('ggml_set_param', none, [tensor]),
  blockSize: fn('ggml_blck_size', i64, [int]),
  typeSize: fn('ggml_type_size', size, [int]),
  typeName: fn('ggml_type_name', string, [int]),
  typeTraits: fn('ggml_get_type_traits', handle<bigint>(), [int]),
  opName: fn('ggml_op_name', string, [int]),
  /** Type, source, destination; first value, rows, values per row; importance of each column. */
  quantizeChunk: fn('ggml_quantize_chunk', size, [int, bytes, bytes, i64, i64, i64, bytes]),
  fp16ToFp32Row: fn('ggml_fp16_to_fp32_row', none, [bytes, bytes, i64]),
  fp32ToFp16Row: fn('ggml_fp32_to_fp16_row', none, [bytes, bytes, i64]),

  // operations
  add: op('add', tensor, tensor),
  addInplace: op('add_inplace', tensor, tensor),
  sub: op('sub', tensor, tensor),
  mul: op('mul', tensor, tensor),
  div: op('div', tensor, tensor),
  sqr: op('sqr', tensor),
  sqrt: op('sqrt', tensor),
  log: op('log', tensor),
  sum: op('sum', tensor),
  argmax: op('argmax', tensor),
  sumRows: op('sum_rows', tensor),
  repeat: op('repeat', tensor, tensor),
  repeat4d: op('repeat_4d', tensor, i64, i64, i64, i64),
  pad: op('pad', tensor, int, int, int, int),
  concat: op('concat', tensor, tensor, int),
  scale: op('scale', tensor, float),
  scaleInplace: op('scale_inplace', tensor, float),
  tanh: op('tanh', tensor),
  silu: op('silu', tensor),
  exp: op('exp', tensor),
  sigmoid: op('sigmoid', tensor),
  softplus: op('softplus', tensor),
  fill: op('fill', tensor, float),
  diag: op('diag', tensor),
  triangle: op('tri', tensor, int),
  /** A matrix and what to solve for; whether it stands left, is lower, has ones on its diagonal. */
  solveTriangle: op('solve_tri', tensor, tensor, bool, bool, bool),
  /** Queries, keys, values, decays, shares, state; how many of the last states are put out. */
  gatedDelta: op('gated_delta_net', tensor, tensor, tensor, tensor, tensor, tensor, i64),
  rmsNorm: op('rms_norm', tensor, float),
  rmsNormBack: op('rms_norm_back', tensor, tensor, float),
  siluBack: op('silu_back', tensor, tensor),
  softMaxBack: op('soft_max_ext_back', tensor, tensor, float, float),
  getRowsBack: op('get_rows_back', tensor, tensor, tensor),
  adamwStep: op('opt_step_adamw', tensor, tensor, tensor, tensor, tensor),
  mulMat: op('mul_mat', tensor, tensor),
  outProd: op('out_prod', tensor, tensor),
  copy: op('cpy', tensor, tensor),
  cont: op('cont', tensor),
  cast: op('cast', tensor, int),
  reshape: op('reshape_4d', tensor, i64, i64, i64, i64),
  view: op('view_4d', tensor, i64, i64, i64, i64, size, size, size, size),
  permute: op('permute', tensor, int, int, int, int),
  transpose: op('transpose', tensor),
  getRows: op('get_rows', tensor, tensor),
  softMaxExt: op('soft_max_ext', tensor, orNull(tensor), float, float),
  ropeExt: rope('rope_ext'),
  ropeBack: rope('rope_ext_back'),
  swigluSplit: op('swiglu_split', tensor, tensor),
  gegluSplit: op('geglu_split', tensor, tensor),
  flashAttention: op('flash_attn_ext', tensor, tensor, tensor, orNull(tensor), float, float, float),
  flashAttentionPrecision: fn('ggml_flash_attn_ext_set_prec', none, [tensor, int]),

  // graphs
  newGraph: fn('ggml_new_graph_custom', graph, [context, size, bool]),
  buildForward: fn('ggml_build_forward_expand', none, [graph, tensor]),
  graphNodes: fn('ggml_graph_n_nodes', int, [graph]),

  // devices and their backends
  deviceName: fn('ggml_backend_dev_name', string, [device]),
  deviceDescription: fn('ggml_backend_dev_description', string, [device]),
  deviceType: fn('ggml_backend_dev_type', int, [device]),
  /** Free and total bytes are written to the last two. */
  deviceMemory: fn('ggml_backend_dev_memory', none, [device, bytes, bytes]),
  deviceInit: fn('ggml_backend_dev_init', backend, [device, pointer]),
  deviceRegistry: fn('ggml_backend_dev_backend_reg', registry, [device]),
  deviceBufferType: fn('ggml_backend_dev_buffer_type', bufferType, [device]),
  deviceSupportsOp: fn('ggml_backend_dev_supports_op', bool, [device, tensor]),
  registryProc: fn('ggml_backend_reg_get_proc_address', pointer, [registry, string]),
  backendFree: fn('ggml_backend_free', none, [backend]),
  /** Returns `enum ggml_status`. */
  graphCompute: fn('ggml_backend_graph_compute', int, [backend, graph]),

  // buffers
  bufferTypeAlignment: fn('ggml_backend_buft_get_alignment', size, [bufferType]),
  bufferTypeName: fn('ggml_backend_buft_name', string, [bufferType]),
  bufferTypeOf: fn('ggml_backend_buffer_get_type', bufferType, [buffer]),
  /** Bytes that a tensor takes in a buffer like this one, the buffer's own arrangement included. */
  bufferAllocSize: fn('ggml_backend_buffer_get_alloc_size', size, [buffer, tensor]),
  bufferIsHost: fn('ggml_backend_buffer_is_host', bool, [buffer]),
  tensorData: fn('ggml_get_data', pointer, [tensor]),
  bufferTypeAlloc: fn('ggml_backend_buft_alloc_buffer', orNull(buffer), [bufferType, size]),
  bufferFree: fn('ggml_backend_buffer_free', none, [buffer]),
  bufferSize: fn('ggml_backend_buffer_get_size', size, [buffer]),
  bufferSetUsage: fn('ggml_backend_buffer_set_usage', none, [buffer, int]),
  bufferFromPointer: fn('ggml_backend_cpu_buffer_from_ptr', buffer, [pointer, size]),
  bufferClear: fn('ggml_backend_buffer_clear', none, [buffer, u8]),
  tensorAlloc: fn('ggml_backend_tensor_alloc', int, [buffer, tensor, pointer]),
  allocContextTensors: fn('ggml_backend_alloc_ctx_tensors_from_buft', orNull(buffer), [context, bufferType]),
  /** Data, offset, bytes. */
  tensorSet: fn('ggml_backend_tensor_set', none, [tensor, bytes, size, size]),
  tensorGet: fn('ggml_backend_tensor_get', none, [tensor, bytes, size, size]),

  // scheduler
  /** Backends and their buffer types, how many; nodes; whether copies run in parallel, whether to offload operations. */
  schedulerNew: fn('ggml_backend_sched_new', scheduler, [bytes, bytes, int, size, bool, bool]),
  schedulerFree: fn('ggml_backend_sched_free', none, [scheduler]),
  schedulerReset: fn('ggml_backend_sched_reset', none, [scheduler]),
  schedulerAlloc: fn('ggml_backend_sched_alloc_graph', bool, [scheduler, graph]),
  schedulerCompute: fn('ggml_backend_sched_graph_compute', int, [scheduler, graph]),
  schedulerBufferSize: fn('ggml_backend_sched_get_buffer_size', size, [scheduler, backend]),
  threadpoolParamsInit: fn('ggml_threadpool_params_init', none, [bytes, int]),

  /** A callback and its data. */
  logSet: fn('ggml_log_set', none, [pointer, pointer]),
};

const registryFunctions = {
  loadBackends: fn('ggml_backend_load_all_from_path', none, [string]),
  loadBackend: fn('ggml_backend_load', orNull(registry), [string]),
  deviceCount: fn('ggml_backend_dev_count', size, []),
  deviceGet: fn('ggml_backend_dev_get', device, [size]),
};

/** Functions that some backends offer by name, beside the common interface (ggml-backend.h, ggml-cpu.h). See `Device.procedure`. */
export const procedures = {
  /** A list of buffer types that ends with NULL. */
  extraBufferTypes: fn('ggml_backend_dev_get_extra_bufts', pointer, [device]),
  /** A list of pairs of strings, name and value, that ends with NULL. */
  features: fn('ggml_backend_get_features', pointer, [registry]),
  setThreads: fn('ggml_backend_set_n_threads', none, [backend, int]),
  setAbortCallback: fn('ggml_backend_set_abort_callback', none, [backend, pointer, pointer]),
  threadpoolNew: fn('ggml_threadpool_new', orNull(threadpool), [bytes]),
  threadpoolFree: fn('ggml_threadpool_free', none, [threadpool]),
  setThreadpool: fn('ggml_backend_cpu_set_threadpool', none, [backend, threadpool]),
};

/** @param base ggml-base, @param ggml the library that finds and loads backends */
export function bindGgml(base: Library, ggml: Library) {
  return {
    ...base.functions(baseFunctions),
    ...ggml.functions(registryFunctions),
    // Functions used as callbacks (graph.ts, native.ts).
    isEmptyAddress: base.address('ggml_is_empty'),
    timeInitAddress: base.address('ggml_time_init'),
  };
}
