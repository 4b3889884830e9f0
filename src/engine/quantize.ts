import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { askChild } from '../base/child.js';
import { LoamError, throwIfStopped } from '../base/errors.js';
import { explainWriteError, makeFolder, publish } from '../base/io.js';
import { programPath } from '../base/package.js';
import { type SentError, unpackError } from '../base/process.js';
import { partialPath, sweepOnce } from '../base/unfinished.js';
import { defaultThreads } from './threads.js';

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
  signal?: AbortSignal;
}

/** What the process that quantises is told. */
export interface QuantizeRequest {
  input: string;
  output: string;
  /** `enum llama_ftype`. */
  type: number;
  threads: number;
  pure: boolean;
  importance?: ImportanceMatrix;
}
export type QuantizeReport = { status: number } | { error: SentError };

const program = programPath('engine/quantizeWorker.js');

/**
 * Writes a model again with its matrices as another type, by libllama's own quantiser, in a process of its own: libllama knows more
 * families than Loam can check. The input must have passed `readGguf`; what an earlier quantisation lost stays lost. Takes seconds per
 * billion weights.
 * @throws LoamError when libllama refuses the file or the disk is full; LoamError (process-died) that names the file, where it died of it
 */
export async function quantizeModel(input: string, output: string, options: QuantizeOptions): Promise<void> {
  const partial = partialPath(output);
  try {
    await makeFolder(dirname(output));
    await sweepOnce(dirname(output));
    const { importance, pure = true, threads = defaultThreads(), signal } = options;
    const type = fileTypes[options.type];
    const status = await inProcess({ input, output: partial, type, threads, pure, importance }, signal);
    if (status !== 0) {
      throw new LoamError({
        code: 'failed',
        found: `llama.cpp could not write this model as ${options.type}`,
        where: input,
        fix: 'check that the disk has room for it, or run again with LOAM_NATIVE_LOG=1 to see the reason',
      });
    }
    throwIfStopped(signal);
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

/** The status of libllama's quantiser. */
function inProcess(request: QuantizeRequest, signal: AbortSignal | undefined): Promise<number> {
  return askChild(program, request, {
    answerOf: (report: QuantizeReport) => {
      if ('error' in report) throw unpackError(report.error);
      return report.status;
    },
    died: (how) =>
      new LoamError({
        code: 'process-died',
        found: `the process that quantises ${how}`,
        expected: 'a model that llama.cpp can quantise',
        where: request.input,
        fix: 'fetch the model again, or choose another one; with LOAM_NATIVE_LOG=1 it says more',
      }),
    signal,
  });
}
