import { rename, rm } from 'node:fs/promises';
import { LoamError } from '../util/errors.js';
import { explainWriteError } from '../util/writeFileAtomic.js';
import { callAsync, native } from './native.js';
import { defaultThreads } from './threads.js';

/** Values of `enum llama_ftype` (llama.h): the type of the matrices; norms and biases stay f32. */
const fileTypes = { f32: 0, f16: 1, q4_0: 2, q4_1: 3, q8_0: 7, bf16: 32 } as const;

export type QuantizedType = keyof typeof fileTypes;

export interface QuantizeOptions {
  type: QuantizedType;
  threads?: number;
}

/**
 * Writes a model again with its matrices as another type, by libllama's own quantiser. The input must have passed `readGguf`; where
 * it is quantised already, what that lost stays lost. Cannot be stopped on the way; takes seconds for each billion weights.
 * @throws LoamError when libllama refuses the file or the disk is full
 */
export async function quantizeModel(input: string, output: string, options: QuantizeOptions): Promise<void> {
  const { llama } = native();
  const params = llama.quantizeDefaultParams();
  params.nthread = options.threads ?? defaultThreads();
  params.ftype = fileTypes[options.type];
  params.allow_requantize = true;
  // Every matrix as asked for: without it the quantiser picks finer types for some.
  params.pure = true;
  const partial = `${output}.${process.pid}.partial`;
  try {
    const status = await callAsync(llama.modelQuantize, input, partial, params);
    if (status !== 0) {
      throw new LoamError({
        found: `llama.cpp could not write this model as ${options.type}`,
        where: input,
        fix: 'check that the disk has room for it, or run again with LOAM_NATIVE_LOG=1 to see the reason',
      });
    }
    await rename(partial, output);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw explainWriteError(error, output);
  }
}
