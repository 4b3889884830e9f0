/**
 * Loam as a library: what the command line does, as functions. Everything computes off the event loop, takes an AbortSignal, and
 * throws `LoamError` for what it can name.
 *
 * @example
 * import { tune } from 'loam';
 * const run = tune('examples.json', { out: 'me.gguf' });
 * for (;;) {
 *   const { done, value } = await run.next();
 *   if (done) { console.log(value.nll); break; } // TuneResult
 *   if (value.type === 'progress') console.log(value.stage, value.done / value.total);
 * }
 */
import type { TuneEvent, TuneResult } from './tune/events.js';
import { type TuneOptions, tuneOptions } from './tune/options.js';
import { tune as tuneWith } from './tune/tune.js';
import { defaults } from './util/options.js';

/**
 * Tunes on a file of examples; see `tune/tune.ts`. Options that are left out have the defaults of `loam tune`.
 * @param data path of examples in any format that `loam data` reads
 * @returns events while it works; the value of the generator's end is the result. Ending the iteration early stops the run.
 */
export function tune(
  data: string,
  options: Partial<TuneOptions> = {},
  signal?: AbortSignal,
): AsyncGenerator<TuneEvent, TuneResult, void> {
  return tuneWith(data, { ...defaults(tuneOptions), ...options }, signal);
}

export { measureNll, type NllResult, type ScoredSequence } from './adapter/measureNll.js';
export { type Adapter, type Base, readAdapter } from './adapter/readAdapter.js';
export { type AdapterToWrite, writeAdapter } from './adapter/writeAdapter.js';
export { fetchModel } from './catalog/fetchModel.js';
export { findModel } from './catalog/findModel.js';
export { listModels } from './catalog/listModels.js';
export { resolveModel } from './catalog/resolveModel.js';
export { ChatSession } from './chat/ChatSession.js';
export { type ConvertOptions, convertModel } from './convert/convertModel.js';
export type { ConvertEvent, Converted } from './convert/events.js';
export { encodeExamples, type Sequence } from './data/encodeExamples.js';
export { loadDataset } from './data/loadDataset.js';
export type { Dataset, Example, Problem } from './data/types.js';
export { Gguf } from './gguf/Gguf.js';
export { readGguf } from './gguf/readGguf.js';
export { writeGguf } from './gguf/writeGguf.js';
export { readHyperparameters } from './model/hyperparameters.js';
export type { Factors, ModuleFactors } from './model/lora.js';
export { Tokenizer } from './model/tokenizer.js';
export type { MeasuredNll, TuneEvent, TuneResult } from './tune/events.js';
export { type TuneOptions, tuneOptions } from './tune/options.js';
export { LoamError, StoppedError, UsageError } from './util/errors.js';
export { version } from './util/version.js';
