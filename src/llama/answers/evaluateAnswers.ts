import { stat } from 'node:fs/promises';
import { type GgufBase, openBase } from '../../adapters/base.js';
import { provenAdapter } from '../../adapters/openAdapter.js';
import { LoamError, throwIfStopped, UsageError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { bytes, count } from '../../base/format.js';
import { hashFile } from '../../base/io.js';
import { peakRss } from '../../base/memory.js';
import { choice, flag, integer, type Schema, text, type Values } from '../../base/options.js';
import { limitAdvice } from '../../examples/encode.js';
import type { NamedBytes, Problem } from '../../examples/example.js';
import { loadDataset } from '../../examples/loadDataset.js';
import { QuestionReader } from '../../examples/questions.js';
import { MEASURED_DAY } from '../../model/strftime.js';
import { provenModel } from '../../models/listModels.js';
import { ChatSession } from '../ChatSession.js';
import { AnswersFile, type AnswersIdentity } from './AnswersFile.js';
import { answerQuestion, measurePrompts, type Plan, type Setting } from './asking.js';
import { type Question, questionsOf } from './questions.js';
import { type Measure, type Outcome, summarise } from './summary.js';

/** What the process holds beside weights and context. */
const PROCESS_BYTES = 150e6;

/** How answers are generated, chosen and scored. */
export const answersOptions = {
  answers: flag('Generate an answer to each question and score it against the answers of the file.'),
  choices: text(
    'LIST',
    'Choose each answer by its likelihood from these, with commas between; "answers" for all answers of the file, "records" for the choices in its records.',
  ),
  hold: choice(
    ['nothing', 'json', 'call'],
    'Hold generated answers by a grammar to JSON, or to calls of the tools of their record, valid by their schemas.',
  ),
  limit: integer([1, 1_000_000], 'Ask so many of the questions, drawn at random.'),
  seed: integer([0, 0xffffffff], 'Seed of that draw.', { default: 1 }),
  answerTokens: integer(
    [1, 100_000],
    'End an answer after this many tokens (default: twice the longest that is expected, 32 to 512).',
    { advanced: true },
  ),
  out: text(
    'FILE',
    'File for the answers as they come, JSON lines in plain text; a stopped evaluation resumes from it.',
  ),
  restart: flag('Start over: the answers in that file are dropped.'),
} as const satisfies Schema;

export interface AnswersRequest extends Values<typeof answersOptions> {
  /** A name from the catalogue or the path of a GGUF file. */
  model: string;
  /** LoRA adapter (GGUF). */
  adapter?: string;
  /** Longer prompts, with the room for an answer, are left out. */
  maxTokens: number;
  /** Which fields of the data are which (see `Columns`). */
  columns?: string;
  threads?: number;
}

export type AnswersEvent =
  | { type: 'problem'; file: string; problem: Problem }
  | { type: 'warning'; message: string }
  | { type: 'stage'; stage: 'answers'; message: string }
  | { type: 'progress'; stage: 'answers'; done: number; total: number };

export interface AnswersResult {
  questions: number;
  /** Questions that were left out. */
  tooLong: number;
  measures: Measure[];
  /** Most tokens of an answer, and how many of the answers ended only there. */
  answerTokens: number;
  cut: { base: number; adapted?: number };
  seconds: number;
  peakRssBytes: number;
}

/**
 * Asks a model the questions of a file, without and with an adapter, in stock libllama, and scores the answers: greedy ones, and the
 * likeliest choices. The same files and settings give the same figures.
 * @throws LoamError for an adapter of another base model, and if nothing can be asked
 */
export function evaluateAnswers(
  data: string | NamedBytes,
  request: AnswersRequest,
  signal?: AbortSignal,
): Run<AnswersEvent, AnswersResult> {
  return new Run((emit, inner) => evaluate(data, request, emit, inner), signal);
}

async function evaluate(
  data: string | NamedBytes,
  request: AnswersRequest,
  emit: (event: AnswersEvent) => void,
  signal: AbortSignal,
): Promise<AnswersResult> {
  const started = performance.now();
  if (!request.answers && request.choices === undefined) {
    throw new UsageError({ found: 'neither answers nor choices', expected: '--answers, --choices, or both' });
  }
  if (!request.answers && request.hold !== 'nothing') {
    throw new UsageError({ found: `--hold ${request.hold} without --answers`, fix: 'add --answers' });
  }
  const { path: modelPath } = await provenModel(request.model, { signal });
  const model = await openBase(modelPath);
  const adapter = request.adapter === undefined ? undefined : await provenAdapter(request.adapter, model, { signal });
  const reader = new QuestionReader();
  const dataset = await loadDataset(data, { signal, columns: request.columns, read: (value) => reader.read(value) });
  const { file } = dataset;
  const tell = (problem: Problem) => emit({ type: 'problem', file, problem });
  for (const problem of dataset.problems) tell(problem);
  const asked = questionsOf(dataset, reader, request);
  for (const problem of asked.problems) tell(problem);
  const setting: Setting = {
    day: adapter?.base.templateDay ?? MEASURED_DAY,
    thinking: adapter?.base.thinking,
  };
  const maxTokens = Math.min(request.maxTokens, model.hyper.contextLength);
  const measured = await measurePrompts(model.gguf, asked.questions, {
    setting,
    maxTokens,
    given: request.answerTokens,
    signal,
  });
  const { answerTokens, contextLength, fitting, tooLong, refused } = measured;
  for (const problem of refused) tell(problem);
  if (tooLong > 0) {
    const room = `with ${count(answerTokens)} tokens for an answer`;
    emit({
      type: 'warning',
      message: `${count(tooLong)} of ${count(asked.questions.length)} questions are longer than ${count(maxTokens)} tokens ${room} and are left out`,
    });
  }
  if (fitting.length === 0) {
    const found = `no question fits into ${count(maxTokens)} tokens with ${count(answerTokens)} for an answer`;
    throw new LoamError({
      code: 'no-examples',
      found,
      where: file,
      fix: limitAdvice(maxTokens, model.hyper.contextLength),
    });
  }
  // Records that bring their choices have them weighed too: it takes little beside an answer.
  const plan: Plan = {
    generate: request.answers,
    weigh: request.choices !== undefined || request.answers,
    whole: asked.whole,
    answerTokens,
    hold: request.hold,
  };
  emit({
    type: 'stage',
    stage: 'answers',
    message: await describe(fitting, plan, { model, contextLength, adapted: adapter !== undefined }),
  });

  await using answers =
    request.out === undefined
      ? undefined
      : await AnswersFile.open(
          request.out,
          await identify(
            { data: dataset.sha256, modelPath, adapterPath: request.adapter },
            { ...plan, ...setting },
            request,
            signal,
          ),
          request,
        );
  if (answers && answers.count > 0) {
    emit({
      type: 'stage',
      stage: 'answers',
      message: `going on after ${count(answers.count)} answers in ${request.out}`,
    });
  }
  using chat = await ChatSession.open({
    modelPath,
    ...(request.adapter !== undefined && { adapters: [{ path: request.adapter }] }),
    contextLength,
    threads: request.threads,
  });
  const passes = adapter ? (['base', 'adapted'] as const) : (['base'] as const);
  const outcomes: { base: Outcome[]; adapted?: Outcome[] } = { base: [] };
  let done = 0;
  for (const by of passes) {
    chat.setAdapted(by === 'adapted');
    // Both are asked on the same day and in the same way.
    chat.tokenizer.template.day = setting.day;
    chat.tokenizer.thinking = setting.thinking;
    const list: Outcome[] = [];
    outcomes[by] = list;
    for (const question of fitting) {
      throwIfStopped(signal);
      const key = { by, id: question.id };
      const known = answers?.get(key);
      const outcome = known ?? (await answerQuestion(chat, question, plan, signal));
      if (!known) await answers?.add(key, outcome, { expected: question.accepted, calls: question.calls });
      list.push(outcome);
      emit({ type: 'progress', stage: 'answers', done: ++done, total: passes.length * fitting.length });
    }
  }
  const cutOf = (list: readonly Outcome[]) => list.filter(({ cut }) => cut).length;
  return {
    questions: fitting.length,
    tooLong,
    measures: summarise(fitting, outcomes),
    answerTokens,
    cut: { base: cutOf(outcomes.base), ...(outcomes.adapted && { adapted: cutOf(outcomes.adapted) }) },
    seconds: (performance.now() - started) / 1000,
    peakRssBytes: peakRss(),
  };
}

async function identify(
  files: { data: string; modelPath: string; adapterPath?: string },
  settings: Record<string, unknown>,
  { choices, limit, seed, maxTokens }: AnswersRequest,
  signal: AbortSignal,
): Promise<AnswersIdentity> {
  const hash = async (path: string) => await hashFile(path, signal).result;
  return {
    format: 'loam-answers',
    data: files.data,
    model: await hash(files.modelPath),
    adapter: files.adapterPath === undefined ? null : await hash(files.adapterPath),
    settings: { ...settings, choices, limit, seed: limit === undefined ? undefined : seed, maxTokens },
  };
}

/** What is going to be done, in a sentence. */
async function describe(
  questions: readonly Question[],
  { generate, weigh, answerTokens }: Plan,
  { model, contextLength, adapted }: { model: GgufBase; contextLength: number; adapted: boolean },
): Promise<string> {
  const choosing = weigh ? questions.filter(({ choices }) => choices).length : 0;
  const what = [
    ...(generate ? [`answers of at most ${count(answerTokens)} tokens`] : []),
    ...(choosing > 0 ? [`the likeliest choice for ${count(choosing)} of them`] : []),
  ];
  const who = adapted ? 'by the base model, then with the adapter' : 'by the base model';
  const { layers, kvHeads, headDim } = model.hyper;
  // Keys and values in f16.
  const memory = (await stat(model.path)).size + 4 * layers * kvHeads * headDim * contextLength;
  return `${count(questions.length)} questions, ${who}: ${what.join(', and ')}; about ${bytes(memory + PROCESS_BYTES)} of memory`;
}
