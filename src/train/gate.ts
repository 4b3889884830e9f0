import type { AdapterToWrite } from '../adapters/loraGguf.js';
import { LoamError, StoppedError } from '../base/errors.js';
import type { General } from '../base/lost.js';
import { type Choices, generalQuestions, measureGeneral } from '../llama/general.js';
import { nllOf } from '../llama/measureNll.js';
import { Yardstick } from '../llama/Yardstick.js';
import { hashOf } from '../models/listModels.js';
import type { OpenedRun } from './lab.js';
import type { AdapterOutput } from './output.js';
import type { PreparedData } from './prepare.js';
import { subjectOf } from './subject.js';

/** An adapter that has not been measured. */
export type DescribedAdapter = Omit<AdapterToWrite, 'metrics'>;

interface MeasuringLimits {
  threads: number;
  /** Whether the general questions are asked. */
  general: boolean;
  /** Time (of `performance.now`) after which they no longer are. */
  deadline: number;
}

function measuredSet({ heldout, validation, train }: PreparedData) {
  if (heldout.length > 0) return { set: heldout, measuredOn: 'heldout' as const };
  if (validation.length > 0) return { set: validation, measuredOn: 'validation' as const };
  return { set: train, measuredOn: 'train' as const };
}

/**
 * The effect gate. The adapter is loaded by stock libllama and measured; only a gain has it kept, with what was measured in its
 * metadata beside the same tensors. What it has lost, and what its questions are about, is found with the same open model.
 */
export async function gate(run: OpenedRun, output: AdapterOutput, adapter: DescribedAdapter, limits: MeasuringLimits) {
  const { source, data, emit, signal } = run;
  const { set, measuredOn } = measuredSet(data);
  if (!adapter.modules.some(({ factors }) => factors.rank > 0)) throw noGain(measuredOn);
  const onProgress = (done: number, total: number) => emit({ type: 'progress', stage: 'measure', done, total });
  const how = { signal, onProgress };
  const { threads, deadline } = limits;
  const { base, adapted, tokens, general, subject } = await output.trial({ ...adapter, metrics: {} }, async (path) => {
    const lost = limits.general ? new WhatWasLost(run, deadline) : undefined;
    const questions = (await lost?.questions()) ?? [];
    using yardstick = await Yardstick.open(source.path, path, [...set, ...questions.flat()], threads);
    const nll = await nllOf(yardstick, set, how);
    const { adapted } = nll;
    if (adapted === undefined || !(adapted < nll.base)) throw noGain(measuredOn, nll.base, adapted);
    const sha256 = await hashOf(source, { signal }).result;
    return {
      ...nll,
      adapted,
      general: await lost?.measure(yardstick, sha256, questions, onProgress),
      subject: await subjectOf(run, yardstick.session, { sha256, deadline }),
    };
  });
  const metrics = {
    nll: { base, adapted },
    measuredOn,
    tokens,
    measuredWith: 'llama.cpp',
    ...(general && { general }),
  };
  const written = await output.keep({ ...adapter, metrics, subject }, true);
  return { base, adapted, measuredOn, tokens, general, written };
}

/** The general questions, asked until the deadline. The adapter is worth keeping without their answers. */
class WhatWasLost {
  private readonly late: AbortSignal;

  constructor(
    private readonly run: OpenedRun,
    deadline: number,
  ) {
    this.late = AbortSignal.timeout(Math.ceil(Math.max(0, Math.min(deadline - performance.now(), 2 ** 31 - 1))));
  }

  async questions(): Promise<Choices[] | undefined> {
    const { model, tokenizer } = this.run;
    const maxTokens = model.hyper.contextLength;
    const questions = await this.attempt((signal) => generalQuestions(tokenizer, { maxTokens, signal }));
    if (questions?.length === 0) this.tell('the model takes no general question');
    return questions;
  }

  async measure(
    yardstick: Yardstick,
    sha256: string,
    questions: readonly Choices[],
    onProgress: (done: number, total: number) => void,
  ): Promise<General | undefined> {
    if (questions.length === 0) return undefined;
    return await this.attempt((signal) => measureGeneral(yardstick, sha256, questions, { signal, onProgress }));
  }

  private async attempt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const { late } = this;
    const { signal } = this.run;
    try {
      return await work(AbortSignal.any([signal, late]));
    } catch (error) {
      if (!(error instanceof LoamError) || signal.aborted) throw error;
      const isLate = error instanceof StoppedError && late.aborted;
      this.tell(isLate ? 'the time budget ended before it was measured' : error.clause);
      return undefined;
    }
  }

  private tell(why: string): void {
    this.run.emit({ type: 'warning', message: `what was lost is not known: ${why}` });
  }
}

function noGain(measuredOn: string, base?: number, adapted?: number): LoamError {
  const figures =
    base === undefined || adapted === undefined
      ? ''
      : ` (NLL ${base.toFixed(4)} without it, ${adapted.toFixed(4)} with it)`;
  return new LoamError({
    code: 'no-gain',
    found: `the adapter does not predict the ${measuredOn} examples better than the bare model${figures}, so it was not kept`,
    fix: 'add more examples that look alike, or try another --method, --shots or --epochs',
  });
}
