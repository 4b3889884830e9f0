import { stat } from 'node:fs/promises';
import { LoamError, underName } from '../base/errors.js';
import { programPath } from '../base/package.js';
import { type SentError, unpackError } from '../base/process.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { readHyperparameters } from './hyperparameters.js';
import { askInTime, type TrialOptions, tryOnce } from './trial.js';

/**
 * The wall before native code. A model or adapter file that passes every check of ours is first tried in a process of its own, with a time limit:
 * whatever libllama does with it there, an abort, an exception, a loop without end, is a stated error here. That it went well is kept
 * (`trial.ts`).
 */

export type ProofReport =
  | { type: 'vocabulary' }
  | { type: 'weights' }
  | { type: 'proven' }
  | { type: 'failed'; error: SentError };

const program = programPath('model/proofWorker.js');

/** Milliseconds for the tokeniser, of which the largest takes a phone two seconds; then for the weights. */
const vocabularyMs = (tokens: number) => 4000 + tokens / 25;
/** A slow card reads 10 MB in a second, and computing with them takes less. */
const weightsMs = (bytes: number) => 4000 + bytes / 10_000;

/** A model alone, or with an adapter on. */
export interface ProofRequest {
  model: string;
  adapter?: string;
}

/**
 * Makes sure that libllama can take a model file: by what is known of it, by all checks, then by trying. Returns at once for a file that
 * has been tried before and has not been touched since.
 * @throws LoamError of the checks; LoamError (process-died) that names the file, where libllama died or took too long; StoppedError
 */
export async function proveModel(model: string, options: TrialOptions = {}): Promise<void> {
  await proveOnce({ model }, options, async () => readHyperparameters(await readGguf(model)).vocabulary);
}

/**
 * The same of an adapter on a model, both of which have passed their checks.
 * @param request.isNew a file that lies in memory is on its way into the vault; any other in memory comes from there, and has been tried
 */
export async function proveAdapter(
  request: Required<ProofRequest> & { vocabulary: number; isNew?: boolean },
  options: TrialOptions = {},
): Promise<void> {
  const { model, adapter, vocabulary, isNew = false } = request;
  const own = '/proc/self/';
  if (adapter.startsWith(own) && !isNew) return;
  // Where another process finds it.
  const there = adapter.startsWith(own) ? adapter.replace(own, `/proc/${process.pid}/`) : adapter;
  await proveOnce({ model, adapter: there }, options, async () => vocabulary).catch((error: unknown) => {
    throw underName(error, there, adapter);
  });
}

/** @param check of the files, without native code; returns the tokens of the model */
async function proveOnce(request: ProofRequest, options: TrialOptions, check: () => Promise<number>): Promise<void> {
  const { model, adapter } = request;
  const paths = adapter === undefined ? [model] : [model, adapter];
  await tryOnce(paths, 'proof', options, async () => {
    const vocabulary = await check();
    const { size } = await stat(model);
    await askInTime(program, request, {
      answerOf: (report: ProofReport, limit) => {
        if (report.type === 'vocabulary') limit(vocabularyMs(vocabulary));
        if (report.type === 'weights') limit(weightsMs(size));
        if (report.type === 'failed') throw unpackError(report.error);
        return report.type === 'proven' || undefined;
      },
      died: (how) => died(request, how),
      signal: options.signal,
    });
    return '';
  });
}

const died = ({ model, adapter }: ProofRequest, how: string): LoamError =>
  new LoamError({
    code: 'process-died',
    found: `the process that tried this ${adapter === undefined ? 'model' : 'adapter'} ${how}`,
    expected: 'a file that llama.cpp can compute with',
    where: adapter ?? model,
    fix: 'fetch it again, or choose another one; with LOAM_NATIVE_LOG=1 it says more',
  });
