import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LoamError, throwIfStopped } from '../base/errors.js';
import { explainWriteError, makeFolder, publish } from '../base/io.js';
import { partialPath, sweepOnce } from '../base/unfinished.js';
import { defaultThreads } from './engine.js';
import { callAsync } from './ffi.js';
import { native } from './native.js';

/** A whole model quantised by libllama. */

/** Values of `enum llama_ftype` (llama.h), under the names that llama.cpp's own quantiser has for them; norms and biases stay f32. */
export const fileTypes = {
  f32: 0,
  f16: 1,
  bf16: 32,
  q8_0: 7,
  q4_0: 2,
  q4_1: 3,
  q5_0: 8,
  q5_1: 9,
  q2_k: 10,
  q2_k_s: 21,
  q3_k: 12,
  q3_k_s: 11,
  q3_k_m: 12,
  q3_k_l: 13,
  q4_k: 15,
  q4_k_s: 14,
  q4_k_m: 15,
  q5_k: 17,
  q5_k_s: 16,
  q5_k_m: 17,
  q6_k: 18,
  iq4_nl: 25,
  iq4_xs: 30,
  iq3_xxs: 23,
  iq3_xs: 22,
  iq3_s: 26,
  iq3_m: 27,
  iq2_xxs: 19,
  iq2_xs: 20,
  iq2_s: 28,
  iq2_m: 29,
  iq1_s: 24,
  iq1_m: 31,
} as const;

export type QuantizedType = keyof typeof fileTypes;

/** How much each input of a matrix matters, by the matrix's name: mean squares of what a model's activations were on some text. */
export type ImportanceMatrix = ReadonlyMap<string, Float32Array>;

interface QuantizeOptions {
  type: QuantizedType;
  threads?: number;
  /** Every matrix as `type` (default). Otherwise the quantiser picks finer types for some, as llama-quantize does. */
  pure?: boolean;
  importance?: ImportanceMatrix;
  /** Checked when libllama is done; what it wrote is then thrown away. */
  signal?: AbortSignal;
}

/** Bytes of rows that are in memory as f32 at a time: the largest embedding tables would otherwise take gigabytes. */
const BUFFER_BYTES = 64 * 1024 * 1024;

/**
 * Writes a model again with its matrices as another type, by libllama's own quantiser. The input must have passed `readGguf`; what an
 * earlier quantisation lost stays lost. Cannot be stopped on the way; takes seconds per billion weights.
 * @throws LoamError when libllama refuses the file or the disk is full
 */
export async function quantizeModel(input: string, output: string, options: QuantizeOptions): Promise<void> {
  const { llama } = native();
  const params = llama.quantizeDefaultParams();
  params.nthread = options.threads ?? defaultThreads();
  params.ftype = fileTypes[options.type];
  params.allow_requantize = true;
  params.pure = options.pure ?? true;
  params.max_buf_size = BUFFER_BYTES;
  if (options.importance) {
    const entries = [...options.importance].map(([name, data]) => ({ name, data, size: data.length }));
    // The list ends with an entry without a name.
    params.imatrix = [...entries, { name: null, data: null, size: 0 }];
  }
  const partial = partialPath(output);
  try {
    await makeFolder(dirname(output));
    await sweepOnce(dirname(output));
    const status = await callAsync(llama.modelQuantize, input, partial, params);
    if (status !== 0) {
      throw new LoamError({
        code: 'failed',
        found: `llama.cpp could not write this model as ${options.type}`,
        where: input,
        fix: 'check that the disk has room for it, or run again with LOAM_NATIVE_LOG=1 to see the reason',
      });
    }
    throwIfStopped(options.signal);
    {
      await using file = await open(partial, 'r+');
      await file.sync();
    }
    await publish(partial, output);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw explainWriteError(error, output);
  }
}
