import { writeFileAtomic } from '../../base/io.js';
import { defaults } from '../../base/options.js';
import { version } from '../../base/process.js';
import { ChatSession, samplingOptions } from '../../llama/ChatSession.js';
import type { TuneResult } from '../events.js';
import type { OpenedRun } from '../lab.js';
import type { Identity } from '../runFolder.js';
import { type ReportSample, renderReport, type StepMetric } from './report.js';

/** Tokens of an answer in the report. */
const answerTokens = 96;

/** What a run came to. */
interface TunedRun {
  result: TuneResult;
  identity: Identity;
  /** File of the adapter. */
  adapterPath: string;
  /** Lines of the run folder's metrics. */
  metrics: readonly Record<string, unknown>[];
}

/** Answers a few examples without and with the adapter, and writes the page. */
export async function writeReport(
  { model, data, emit, signal }: OpenedRun,
  path: string,
  { result, identity, adapterPath, metrics }: TunedRun,
): Promise<void> {
  emit({ type: 'stage', stage: 'answers', message: 'answering for the report' });
  const samples: ReportSample[] = [];
  {
    using session = await ChatSession.open({
      modelPath: model.gguf.path,
      adapterPath,
      contextLength: 2048,
      threads: identity.threads,
    });
    const sampling = { ...defaults(samplingOptions), temperature: 0, maxTokens: answerTokens };
    for (const [done, { messages }] of data.samples.entries()) {
      const last = messages.at(-1)!;
      const asked = last.role === 'assistant' ? messages.slice(0, -1) : messages;
      const answer = async (adapted: boolean) => {
        session.setAdapted(adapted);
        return (await session.answer(asked, sampling, signal).result).trim();
      };
      samples.push({
        prompt: asked.at(-1)?.content ?? '',
        before: await answer(false),
        after: await answer(true),
        expected: last.role === 'assistant' ? last.content : undefined,
      });
      emit({ type: 'progress', stage: 'answers', done: done + 1, total: data.samples.length });
    }
  }
  const recipe = Object.fromEntries(
    Object.entries(identity.options).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, typeof value === 'object' ? JSON.stringify(value) : value]],
    ),
  ) as Record<string, string | number | boolean>;
  const html = renderReport({
    title: `Loam: ${model.gguf.string('general.name', '') || 'a model'}, tuned`,
    createdAt: new Date().toISOString(),
    version,
    model: model.gguf.string('general.name', ''),
    method: result.method,
    recipe,
    nll: result.nll,
    measuredOn: result.measuredOn,
    seconds: result.seconds,
    peakRssBytes: result.peakRssBytes,
    energyJoules: result.energyJoules,
    quote: result.quote?.quoted,
    metrics: metricsOf(metrics),
    samples,
  });
  await writeFileAtomic(path, html);
}

/** Steps and validations of the run's events, in the report's form. */
export function metricsOf(events: readonly Record<string, unknown>[]): StepMetric[] {
  return events.flatMap((event): StepMetric[] => {
    const number = (name: string) => (typeof event[name] === 'number' ? (event[name] as number) : undefined);
    const at = { step: number('step') ?? 0, epoch: number('epoch') ?? 0 };
    if (event.type === 'validation') return [{ ...at, validation: number('nll') }];
    if (event.type !== 'step') return [];
    return [
      {
        ...at,
        loss: number('loss'),
        tokensPerSecond: number('tokensPerSecond'),
        learningRate: number('learningRate'),
        gradientNorm: number('gradientNorm'),
        rssBytes: number('rssBytes'),
        seconds: number('seconds'),
      },
    ];
  });
}
