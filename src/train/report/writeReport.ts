import type { Run } from '../../base/events.js';
import { writeFileAtomic } from '../../base/io.js';
import { defaults } from '../../base/options.js';
import { version } from '../../base/process.js';
import { type Conversation, type Example, isConversation, textOf } from '../../examples/example.js';
import { type ChatEvent, ChatSession } from '../../llama/ChatSession.js';
import { type Sampling, samplingOptions } from '../../llama/sampling.js';
import type { TuneResult } from '../events.js';
import type { Identity } from '../identity.js';
import type { OpenedRun } from '../lab.js';
import { type ReportSample, renderReport, type StepMetric, stepFigures } from './report.js';

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

interface Asked {
  prompt: string;
  expected?: string;
  ask: (session: ChatSession, sampling: Sampling, signal: AbortSignal) => Run<ChatEvent, string>;
}

/** A conversation without its last answer. */
function question({ messages }: Conversation): Asked {
  const last = messages.at(-1)!;
  const asked = last.role === 'assistant' ? messages.slice(0, -1) : messages;
  return {
    prompt: asked.at(-1)?.content ?? '',
    expected: last.role === 'assistant' ? last.content : undefined,
    ask: (session, sampling, signal) => session.answer(asked, sampling, signal),
  };
}

/** Characters of a text that are given, and of what follows that is shown beside the answers. */
const givenCharacters = 200;
const shownCharacters = 400;

/** The first words of a text, to be continued. */
function beginning(example: Example): Asked {
  const { content } = textOf(example)!;
  const prompt =
    new RegExp(`^[\\s\\S]{0,${givenCharacters}}(?=\\s|$)`).exec(content)?.[0] || content.slice(0, givenCharacters);
  return {
    prompt,
    expected: content.slice(prompt.length, prompt.length + shownCharacters).trim(),
    ask: (session, sampling, signal) => session.complete(prompt, sampling, signal),
  };
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
      adapters: [{ path: adapterPath }],
      contextLength: 2048,
      threads: identity.threads,
    });
    const sampling = { ...defaults(samplingOptions), temperature: 0, maxTokens: answerTokens };
    for (const [done, example] of data.samples.entries()) {
      const { prompt, expected, ask } = isConversation(example) ? question(example) : beginning(example);
      const answer = async (adapted: boolean) => {
        session.setAdapted(adapted);
        return (await ask(session, sampling, signal).result).trim();
      };
      samples.push({ prompt, before: await answer(false), after: await answer(true), expected });
      emit({ type: 'progress', stage: 'answers', done: done + 1, total: data.samples.length });
    }
  }
  const recipe = Object.fromEntries(
    Object.entries(identity.options).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, typeof value === 'object' ? JSON.stringify(value) : value]],
    ),
  ) as Record<string, string | number | boolean>;
  const name = model.gguf.string('general.name', '');
  const html = renderReport({
    ...result,
    title: `Loam: ${name || 'a model'}, tuned`,
    createdAt: new Date().toISOString(),
    version,
    model: name,
    recipe,
    quote: result.quote?.quoted,
    metrics: metricsOf(metrics),
    samples,
  });
  await writeFileAtomic(path, html);
}

/** Steps and validations of the run's events, in the report's form. */
export function metricsOf(events: readonly Record<string, unknown>[]): StepMetric[] {
  return events.flatMap((event): StepMetric[] => {
    const number = (name: string) => (typeof event[name] === 'number' ? event[name] : undefined);
    const at = { step: number('step') ?? 0, epoch: number('epoch') ?? 0 };
    if (event.type === 'validation') return [{ ...at, validation: number('nll') }];
    if (event.type !== 'step') return [];
    return [{ ...at, ...Object.fromEntries(stepFigures.map((figure) => [figure, number(figure)])) }];
  });
}
