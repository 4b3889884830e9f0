import { clauseOf, LoamError } from '../base/errors.js';
import { loadBackends } from './backends.js';
import { leaveNoCore } from './core.js';
import { Library, MissingFunctions } from './ffi.js';
import { bindGgml } from './ggmlBindings.js';
import { bindLlama } from './llamaBindings.js';
import { type LibraryFiles, locateLibraries, muslFix, otherLibc, releases, remedy } from './locate.js';
import { returnLargeBlocks } from './memory.js';
import { dieWithParent } from './parent.js';

/**
 * The engine's libraries, loaded once per process: found (locate.ts), bound (ggmlBindings.ts, llamaBindings.ts), checked to lay out their
 * structures as this build expects, and silenced. No JavaScript function is ever called on native threads, so nothing can throw there.
 */

export interface Native {
  files: LibraryFiles;
  ggml: ReturnType<typeof bindGgml>;
  llama: ReturnType<typeof bindLlama>;
}

let loaded: Native | undefined;

/** Loads the libraries at the first call. Throws LoamError if they are missing, or of another layout than this build knows. */
export function native(): Native {
  if (loaded) return loaded;
  refuseGpu();
  leaveNoCore();
  dieWithParent();
  const files = locateLibraries();
  // A native abort would otherwise start a debugger to print a backtrace (ggml.c, ggml_print_backtrace).
  process.env.GGML_NO_BACKTRACE ??= '1';
  const libraries = bind(files);
  returnLargeBlocks();
  checkLayout(libraries);
  const { ggml, llama } = libraries;
  if (!process.env.LOAM_NATIVE_LOG) {
    // `ggml_time_init` takes no argument and does nothing on a second call, which makes it a log callback that stays silent
    // on any thread without entering JavaScript.
    ggml.logSet(ggml.timeInitAddress, null);
    llama.logSet(ggml.timeInitAddress, null);
  }
  loadBackends(ggml, files.folder);
  llama.backendInit();
  loaded = libraries;
  return loaded;
}

/**
 * Training on a GPU ended in a segmentation fault (Vulkan) or gave wrong results (phones), so it is refused and not only left untried.
 */
function refuseGpu(): void {
  const { LOAM_GPU: asked = '' } = process.env;
  if (asked === '' || asked === '0') return;
  throw new LoamError({
    code: 'unsupported',
    found: `LOAM_GPU=${asked} asks for a GPU`,
    expected: 'the processor, on which alone Loam computes',
    fix: 'unset LOAM_GPU',
  });
}

function bind(files: LibraryFiles): Native {
  try {
    const base = new Library(files.base);
    const ggml = new Library(files.ggml);
    return { files, ggml: bindGgml(base, ggml), llama: bindLlama(new Library(files.llama)) };
  } catch (error) {
    if (error instanceof LoamError) throw error;
    if (error instanceof MissingFunctions) {
      const [first, ...others] = error.names;
      const more = others.length > 0 ? ` and ${others.length} more of the functions` : ', a function';
      throw foreignBuild(`these libraries lack ${first}${more} that Loam calls`, files);
    }
    const musl = otherLibc() ? ', which is built for glibc, while this Linux has another C library (musl?)' : '';
    throw new LoamError(
      {
        code: 'engine',
        found: `the engine can't be loaded${musl}: ${clauseOf(error)}`,
        where: files.folder,
        fix: musl ? muslFix : remedy(files),
      },
      { cause: error },
    );
  }
}

/** Values that another layout would not have at these places, by field: what is found, and what the releases that Loam knows have. */
function checkedFields({ ggml, llama }: Native): Record<string, [found: unknown, expected: unknown]> {
  const model = llama.modelDefaultParams();
  const context = llama.contextDefaultParams();
  const quantize = llama.quantizeDefaultParams();
  return {
    // Its size and that of its object header; tensor.ts relies on the layout.
    'size of ggml_tensor': [Number(ggml.tensorOverhead()), 368],
    'llama_model_params.n_gpu_layers': [model.n_gpu_layers, -1],
    'llama_model_params.split_mode': [model.split_mode, 1],
    'llama_model_params.load_mode': [model.load_mode, -1],
    'llama_model_params.use_extra_bufts': [model.use_extra_bufts, true],
    'llama_model_params.vocab_only': [model.vocab_only, false],
    'llama_context_params.n_ctx': [context.n_ctx, 512],
    'llama_context_params.n_batch': [context.n_batch, 2048],
    'llama_context_params.n_ubatch': [context.n_ubatch, 512],
    'llama_context_params.flash_attn_type': [context.flash_attn_type, -1],
    'llama_context_params.type_k': [context.type_k, 1],
    'llama_context_params.type_v': [context.type_v, 1],
    'llama_context_params.yarn_beta_fast': [context.yarn_beta_fast, -1],
    'llama_context_params.offload_kqv': [context.offload_kqv, true],
    'llama_model_quantize_params.ftype': [quantize.ftype, 7],
    'llama_model_quantize_params.allow_requantize': [quantize.allow_requantize, false],
    'llama_model_quantize_params.quantize_output_tensor': [quantize.quantize_output_tensor, true],
    'llama_model_quantize_params.dry_run': [quantize.dry_run, false],
    // LLAMA_QUANT_MAX_BUF_SIZE, the last field.
    'llama_model_quantize_params.max_buf_size': [Number(quantize.max_buf_size), 8 * 1024 ** 3],
  };
}

/** Refuses a foreign build before it corrupts memory. @throws LoamError that names the first field that differs */
export function checkLayout(libraries: Native): void {
  const wrong = Object.entries(checkedFields(libraries)).filter(([, [found, expected]]) => found !== expected);
  const [first] = wrong;
  if (first === undefined) return;
  const [field, [found, expected]] = first;
  const others = wrong.length > 1 ? ` (and ${wrong.length - 1} more differ)` : '';
  const { files, ggml } = libraries;
  throw foreignBuild(`ggml ${ggml.version()} has ${found} in ${field} instead of ${expected}${others}`, files);
}

/** The error for libraries of another release. @param found what differs */
export function foreignBuild(found: string, files: LibraryFiles): LoamError {
  return new LoamError({
    code: 'engine',
    found,
    expected: `a build of llama.cpp ${releases}`,
    where: files.folder,
    fix: remedy(files),
  });
}
