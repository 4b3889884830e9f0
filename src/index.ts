/**
 * Loam as a library: what the command line does, as functions. Everything computes off the event loop, takes an AbortSignal, and
 * throws `LoamError`, whose `code` says what kind of failure it is. Long operations are a `Run`: events while it works, then a result.
 *
 * @example
 * import { tune } from 'loam';
 * const run = tune('examples.json', { out: 'me.gguf' });
 * for await (const event of run) if (event.type === 'progress') console.log(event.stage, event.done / event.total);
 * const { nll } = await run.result; // mean loss (NLL) per response token
 * console.log(`${nll.base} without the adapter, ${nll.adapted} with it`);
 */

import type { Run } from './base/events.js';
import { defaults } from './base/options.js';
import {
  type AnswersEvent,
  type AnswersRequest,
  type AnswersResult,
  answersOptions,
  evaluateAnswers as evaluateWith,
} from './llama/answers/evaluateAnswers.js';
import type { TuneEvent, TuneResult } from './train/events.js';
import { type TuneOptions, tuneOptions } from './train/options.js';
import { tune as tuneWith } from './train/tune.js';

export { type Base, type GgufBase, openAnyBase, openBase } from './adapters/base.js';
export { type CombinedLora, type CombineOptions, combineLoras, scaleLora } from './adapters/combine.js';
export { corrections, type Lora, type LoraModule } from './adapters/lora.js';
export { type AdapterToWrite, writeAdapter, writeLora } from './adapters/loraGguf.js';
export { type Merged, type MergeOptions, mergeGguf, mergeHf } from './adapters/merge.js';
export { type Adapter, openAdapter } from './adapters/openAdapter.js';
export { writePeft } from './adapters/peft/peft.js';
export { type ErrorCode, LoamError, StoppedError, UsageError } from './base/errors.js';
export { Run } from './base/events.js';
export { version } from './base/process.js';
export { encodeExamples, type Sequence } from './examples/encode.js';
export type { Dataset, Example, Problem } from './examples/example.js';
export { loadDataset } from './examples/loadDataset.js';
export { packTexts } from './examples/pack.js';
export type { Finding } from './examples/personal/finding.js';
export { findInText, findPersonal } from './examples/personal/findPersonal.js';
export { type ArrayToWrite, type Dtype, type NamedArrayToWrite, type NdArray, ndArray } from './formats/arrays.js';
export { Gguf } from './formats/gguf/Gguf.js';
export { readGguf } from './formats/gguf/readGguf.js';
export { writeGguf } from './formats/gguf/writeGguf.js';
export { NpyFile, openNpy, readNpy, writeNpy } from './formats/npy.js';
export { NpzFile, openNpz, writeNpz } from './formats/npz.js';
export { openSafetensors, SafetensorsFile, type TensorSource, writeSafetensors } from './formats/safetensors.js';
export { openSafetensorsFolder, writeSafetensorsFolder } from './formats/safetensorsFolder.js';
export type { AnswersEvent, AnswersRequest, AnswersResult } from './llama/answers/evaluateAnswers.js';
export type { Measure } from './llama/answers/summary.js';
export { ChatSession } from './llama/ChatSession.js';
export { evaluate } from './llama/evaluate.js';
export { measureNll, type NllResult } from './llama/measureNll.js';
export type { ScoredSequence } from './llama/Yardstick.js';
export type { Factors, ModuleFactors } from './model/factors.js';
export { readHyperparameters } from './model/hyperparameters.js';
export { Tokenizer } from './model/tokenizer.js';
export { findModel } from './models/catalogue.js';
export { type ConvertEvent, type Converted, type ConvertOptions, convertModel } from './models/convert/convertModel.js';
export { fetchModel } from './models/fetchModel.js';
export { listModels, provenModel, resolveModel } from './models/listModels.js';
export type { MeasuredNll, TuneEvent, TuneResult } from './train/events.js';
export { type TuneOptions, tuneOptions } from './train/options.js';
export { embed } from './train/steps/embed.js';
export {
  type EmbedOptions,
  type EmbedResult,
  embedOptions,
  type PackOptions,
  type PackResult,
  type PipelineEvent,
  packOptions,
  type SolveOptions,
  type SolveResult,
  solveOptions,
} from './train/steps/options.js';
export { pack } from './train/steps/pack.js';
export { solve } from './train/steps/solve.js';

/**
 * Tunes on a file of examples; see `train/tune.ts`. Options that are left out have the defaults of `loam tune`.
 * @param data path of examples in any format that `loam data` reads, or several
 */
export function tune(
  data: string | readonly string[],
  options: Partial<TuneOptions> = {},
  signal?: AbortSignal,
): Run<TuneEvent, TuneResult> {
  return tuneWith(data, { ...defaults(tuneOptions), ...options }, signal);
}

/**
 * Asks a model the questions of a file, without and with an adapter, and scores the answers; see docs/evaluation.md. Options that are left out
 * have the defaults of `loam eval --answers`.
 * @param data path of examples in any format that `loam eval` reads
 */
export function evaluateAnswers(
  data: string,
  options: Partial<AnswersRequest> = {},
  signal?: AbortSignal,
): Run<AnswersEvent, AnswersResult> {
  const { model, maxTokens } = defaults(tuneOptions);
  return evaluateWith(data, { ...defaults(answersOptions), model, maxTokens, answers: true, ...options }, signal);
}
