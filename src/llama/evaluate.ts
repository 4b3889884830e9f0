import { openBase, requireTemplate } from '../adapters/base.js';
import { provenAdapter } from '../adapters/openAdapter.js';
import { LoamError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { count } from '../base/format.js';
import type { General } from '../base/lost.js';
import { encodeExamples, limitAdvice } from '../examples/encode.js';
import type { NamedBytes, Problem } from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import { packTexts } from '../examples/pack.js';
import { MEASURED_DAY } from '../model/strftime.js';
import { Tokenizer } from '../model/tokenizer.js';
import { hashOf, provenModel } from '../models/listModels.js';
import { generalQuestions, measureGeneral } from './general.js';
import { nllOf } from './measureNll.js';
import { Yardstick } from './Yardstick.js';

interface EvaluateOptions {
  /** A name from the catalogue or the path of a GGUF file. */
  model: string;
  /** LoRA adapter (GGUF). */
  adapter?: string;
  /** Longer examples are left out. */
  maxTokens: number;
  /** Which fields of the data are which (see `Columns`). */
  columns?: string;
  threads?: number;
  /** Leaves out what the adapter has lost. */
  skipGeneral?: boolean;
}

type EvaluateEvent =
  | { type: 'problem'; file: string; problem: Problem }
  | { type: 'warning'; message: string }
  | { type: 'progress'; stage: 'measure'; done: number; total: number };

interface Evaluation {
  examples: number;
  /** Response tokens, the end-of-turn tokens included. */
  tokens: number;
  /** Examples that were left out. */
  tooLong: number;
  /** Mean in nats per response token; `adapted` without an adapter is undefined. */
  nll: { base: number; adapted: number | undefined };
  /** What the adapter has lost; undefined without one, or if it is not asked for. */
  general?: General;
}

/**
 * Measures in llama.cpp how well a model predicts the answers of examples, without and with an adapter.
 * @throws LoamError for an adapter of another base model, and if no example fits
 */
export function evaluate(
  data: string | NamedBytes,
  options: EvaluateOptions,
  signal?: AbortSignal,
): Run<EvaluateEvent, Evaluation> {
  return new Run(async (emit, inner) => {
    const source = await provenModel(options.model, { signal: inner });
    const { path } = source;
    const model = await openBase(path);
    const adapter =
      options.adapter === undefined ? undefined : await provenAdapter(options.adapter, model, { signal: inner });
    using tokenizer = await Tokenizer.open(model.gguf, adapter?.base.templateDay ?? MEASURED_DAY);
    if (adapter) await requireTemplate(adapter, tokenizer);
    const { contextLength } = model.hyper;
    const file = typeof data === 'string' ? data : data.name;
    const { examples, problems } = await loadDataset(data, { signal: inner, columns: options.columns });
    for (const problem of problems) emit({ type: 'problem', file, problem });
    const maxTokens = Math.min(options.maxTokens, contextLength);
    const packed = await packTexts(tokenizer, examples, { maxTokens, signal: inner });
    if (packed.remark) emit({ type: 'warning', message: packed.remark });
    const { sequences, tooLong, refused, remarks } = await encodeExamples(tokenizer, packed.examples, {
      maxTokens,
      signal: inner,
    });
    for (const message of remarks) emit({ type: 'warning', message });
    for (const problem of refused) emit({ type: 'problem', file, problem });
    if (tooLong.length > 0) {
      emit({
        type: 'warning',
        message: `${count(tooLong.length)} of ${count(examples.length)} examples are longer than ${count(maxTokens)} tokens and are left out`,
      });
    }
    if (sequences.length === 0) {
      throw new LoamError({
        code: 'no-examples',
        found: `no example fits into ${count(maxTokens)} tokens`,
        where: file,
        fix: `shorten the examples or ${limitAdvice(maxTokens, contextLength)}`,
      });
    }
    const questions =
      options.adapter === undefined || options.skipGeneral
        ? []
        : await generalQuestions(tokenizer, { maxTokens: contextLength, signal: inner });
    const how = {
      signal: inner,
      onProgress: (done: number, total: number) => emit({ type: 'progress' as const, stage: 'measure', done, total }),
    };
    const all = [...sequences, ...questions.flat()];
    using yardstick = await Yardstick.open(path, options.adapter, all, options.threads);
    const { tokens, base, adapted } = await nllOf(yardstick, sequences, how);
    const general =
      questions.length === 0
        ? undefined
        : await measureGeneral(yardstick, await hashOf(source, { signal: inner }).result, questions, how);
    return { examples: sequences.length, tokens, tooLong: tooLong.length, nll: { base, adapted }, general };
  }, signal);
}
