import { clauseOf, LoamError } from '../base/errors.js';
import { leaveNoCore } from './core.js';
import { Library } from './ffi.js';
import { bindGgml } from './ggmlBindings.js';
import { bindLlama } from './llamaBindings.js';
import { type LibraryFiles, locateLibraries } from './locate.js';
import { returnLargeBlocks } from './memory.js';

/**
 * The engine's libraries, loaded once per process: found (locate.ts), bound (ggmlBindings.ts, llamaBindings.ts), checked to lay out their
 * structures as this build expects, and silenced. No JavaScript function is ever handed to native threads, so nothing can throw there.
 */

export interface Native {
  files: LibraryFiles;
  ggml: ReturnType<typeof bindGgml>;
  llama: ReturnType<typeof bindLlama>;
}

/** Byte size of `struct ggml_tensor` plus its object header in the pinned release; tensor.ts relies on this layout. */
const expectedTensorOverhead = 368;

let loaded: Native | undefined;

/** Loads the libraries at the first call. Throws LoamError if they are missing, or of another layout than this build knows. */
export function native(): Native {
  if (loaded) return loaded;
  leaveNoCore();
  const files = locateLibraries();
  // A native abort would otherwise start a debugger to print a backtrace (ggml.c, ggml_print_backtrace).
  process.env.GGML_NO_BACKTRACE ??= '1';
  try {
    const base = new Library(files.base);
    const ggml = new Library(files.ggml);
    loaded = { files, ggml: bindGgml(base, ggml), llama: bindLlama(new Library(files.llama)) };
  } catch (error) {
    throw new LoamError(
      {
        code: 'engine',
        found: `the engine libraries can't be loaded: ${clauseOf(error)}`,
        where: files.folder,
        fix: 'reinstall Loam, or point LOAM_GGML_DIR at a llama.cpp v0.4.0 build for this system',
      },
      { cause: error },
    );
  }
  returnLargeBlocks();
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

/** Checks defaults that a struct of another layout would not have at these places: a foreign build is refused before it corrupts memory. */
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
  if (!sound) throw foreignLayout(`these libraries (ggml ${ggml.version()}) lay out their structures`, files);
}

/** The error for libraries of another release. @param found what differs, as a sentence that "differently" ends */
export function foreignLayout(found: string, { folder }: LibraryFiles): LoamError {
  return new LoamError({
    code: 'engine',
    found: `${found} differently`,
    expected: 'a build of llama.cpp v0.4.0',
    where: folder,
    fix: 'unset LOAM_GGML_DIR, or point it at a build of that release',
  });
}
