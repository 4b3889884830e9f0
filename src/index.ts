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

export { type CombinedLora, type CombineOptions, combineLoras } from './adapter/combineLoras.js';
export type { LoraBase } from './adapter/LoraBase.js';
export type { Lora, LoraModule } from './adapter/lora.js';
export { measureNll, type NllResult, type ScoredSequence } from './adapter/measureNll.js';
export { type Merged, type MergeOptions, mergeGguf } from './adapter/mergeGguf.js';
export { mergeHf } from './adapter/mergeHf.js';
export { type OpenedBase, openLoraBase } from './adapter/openLoraBase.js';
export { readPeft } from './adapter/peft/readPeft.js';
export { writePeft } from './adapter/peft/writePeft.js';
export { type Adapter, type Base, readAdapter } from './adapter/readAdapter.js';
export { readAnyLora } from './adapter/readAnyLora.js';
export { scaleLora } from './adapter/scaleLora.js';
export { type AdapterToWrite, writeAdapter } from './adapter/writeAdapter.js';
export { writeLora } from './adapter/writeLora.js';
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
export type { ArrayToWrite, Dtype, NamedArrayToWrite, NdArray } from './formats/dtypes.js';
export { NpyFile, openNpy, readNpy } from './formats/NpyFile.js';
export { NpzFile, openNpz } from './formats/NpzFile.js';
export { ndArray } from './formats/ndArray.js';
export { openSafetensors, SafetensorsFile, type TensorSource } from './formats/SafetensorsFile.js';
export { openSafetensorsFolder } from './formats/SafetensorsFolder.js';
export { writeNpy } from './formats/writeNpy.js';
export { writeNpz } from './formats/writeNpz.js';
export { writeSafetensors } from './formats/writeSafetensors.js';
export { writeSafetensorsFolder } from './formats/writeSafetensorsFolder.js';
export { Gguf } from './gguf/Gguf.js';
export { readGguf } from './gguf/readGguf.js';
export { writeGguf } from './gguf/writeGguf.js';
export { readHyperparameters } from './model/hyperparameters.js';
export type { Factors, ModuleFactors } from './model/lora.js';
export { Tokenizer } from './model/tokenizer.js';
export { embed } from './pipeline/embed.js';
export type { EmbedResult, PackResult, PipelineEvent, SolveResult } from './pipeline/events.js';
export {
  type EmbedOptions,
  embedOptions,
  type PackOptions,
  packOptions,
  type SolveOptions,
  solveOptions,
} from './pipeline/options.js';
export { pack } from './pipeline/pack.js';
export { solve } from './pipeline/solve.js';
export { findInText } from './privacy/findInText.js';
export { type Finding, findPersonal } from './privacy/findPersonal.js';
export type { MeasuredNll, TuneEvent, TuneResult } from './tune/events.js';
export { type TuneOptions, tuneOptions } from './tune/options.js';
export { LoamError, StoppedError, UsageError } from './util/errors.js';
export { version } from './util/version.js';
