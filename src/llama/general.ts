import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { LoamError, throwIfStopped } from '../base/errors.js';
import { sharedLength } from '../base/format.js';
import { makeFolder, readText, writeFileAtomic } from '../base/io.js';
import type { General } from '../base/lost.js';
import { loamHome } from '../base/process.js';
import { encodeExamples } from '../examples/encode.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { hashOf, type ResolvedModel } from '../models/listModels.js';
import { negativeLogLikelihood, requireFinite, type ScoredSequence } from './measureNll.js';
import { Session } from './Session.js';

/**
 * The general questions, asked in stock libllama: how likely the right answers are, and of how many questions the right answer is the
 * likeliest of four. Nothing is generated, which on a phone would take minutes.
 */

const file = new URL('../../assets/general/questions.json', import.meta.url);

interface Question {
  question: string;
  right: string;
  wrong: string[];
}

/** The answers to choose from, each with its question; the right one is the first. */
export type Choices = readonly ScoredSequence[];

/** The questions as this model reads them; those that do not fit into its context, or that its template refuses, are left out. */
export async function generalQuestions(
  tokenizer: Tokenizer,
  { maxTokens, signal }: { maxTokens: number; signal?: AbortSignal },
): Promise<Choices[]> {
  const questions = JSON.parse(await readFile(file, 'utf8')) as Question[];
  const answers = questions.map(({ right, wrong }) => [right, ...wrong]);
  const owner = answers.flatMap((list, question) => list.map(() => question));
  const examples = answers.flatMap((list, index) =>
    list.map((answer) => ({
      messages: [
        { role: 'user' as const, content: questions[index]!.question },
        { role: 'assistant' as const, content: answer },
      ],
      source: { file: file.pathname, line: 1 + index, index },
    })),
  );
  const { sequences } = await encodeExamples(tokenizer, examples, { maxTokens, signal }).catch((error: unknown) => {
    if (error instanceof LoamError && error.code === 'template') return { sequences: [] };
    throw error;
  });
  const all = questions.map((): ScoredSequence[] => []);
  for (const sequence of sequences) all[owner[sequence.example]!]!.push(sequence);
  return all.filter((list, question) => list.length === answers[question]!.length);
}

interface Measured {
  /** Mean in nats per token of the right answers. */
  nll: number;
  right: number;
}

interface Options {
  threads?: number;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * Asks the base model and the model with the adapter. What the base answers is kept in LOAM_HOME, since it never changes.
 * @param questions at least one
 * @param model path of the base model's file and its sha256
 * @throws LoamError when a likelihood is not a finite number
 */
export async function measureGeneral(
  model: { path: string; sha256: string },
  adapterPath: string,
  questions: readonly Choices[],
  options: Options = {},
): Promise<General> {
  const { threads, signal, onProgress } = options;
  const kept = new KeptBase(model.sha256, questions);
  let base = await kept.read();
  const longest = Math.max(...questions.flat().map(({ tokens }) => tokens.length));
  using session = await Session.open(model.path, { contextLength: longest + 16, threads, inPlace: true });
  const adapter = await session.loadAdapter(adapterPath);
  const passes = base ? 1 : 2;
  let done = 0;
  const pass = async (where: string, what: 'model' | 'adapter'): Promise<Measured> => {
    let [sum, tokens, right] = [0, 0, 0];
    for (const choices of questions) {
      throwIfStopped(signal);
      const scores = await scoresOf(session, choices, signal);
      const means = scores.map((score, i) => score / choices[i]!.targets.length);
      if (means.every((mean, i) => i === 0 || means[0]! < mean)) right++;
      sum += scores[0]!;
      tokens += choices[0]!.targets.length;
      onProgress?.(++done, passes * questions.length);
    }
    requireFinite(sum, where, what);
    return { nll: sum / tokens, right };
  };
  if (!base) {
    base = await pass(model.path, 'model');
    await kept.write(base);
  }
  session.wear(adapter);
  const adapted = await pass(adapterPath, 'adapter');
  return {
    questions: questions.length,
    nll: { base: base.nll, adapted: adapted.nll },
    right: { base: base.right, adapted: adapted.right },
  };
}

/**
 * The same with a model that is open; undefined if its context holds no question, or its template takes none.
 * @param adapterPath of an adapter that has passed `openAdapter`
 */
export async function askGeneral(
  { source, tokenizer, contextLength }: { source: ResolvedModel; tokenizer: Tokenizer; contextLength: number },
  adapterPath: string,
  options: Options,
): Promise<General | undefined> {
  const questions = await generalQuestions(tokenizer, { maxTokens: contextLength, signal: options.signal });
  if (questions.length === 0) return undefined;
  const sha256 = await hashOf(source, { signal: options.signal }).result;
  return await measureGeneral({ path: source.path, sha256 }, adapterPath, questions, options);
}

/** Sums of -log p over the answers' tokens, in nats. What an answer begins with like the one before it is not read again. */
async function scoresOf(session: Session, choices: Choices, signal: AbortSignal | undefined): Promise<number[]> {
  let before: ScoredSequence = { tokens: new Int32Array(0), targets: new Int32Array(0) };
  let known = new Map<number, number>();
  const sums: number[] = [];
  for (const choice of choices) {
    const { tokens, targets } = choice;
    const shared = sharedLength(before.tokens, tokens);
    const values = new Map([...known].filter(([position]) => position < shared));
    const open = [...targets].filter((position) => !values.has(position));
    if (open.length > 0) {
      // What predicts the last target is the last that has to be read.
      await session.read(
        tokens.subarray(0, open.at(-1)!),
        open.map((position) => position - 1),
        {
          onLogits: (logits, position) => {
            values.set(position + 1, negativeLogLikelihood(logits, tokens[position + 1]!));
          },
          signal,
        },
      );
    }
    sums.push([...targets].reduce((sum, position) => sum + values.get(position)!, 0));
    before = choice;
    known = values;
  }
  return sums;
}

/** What a base model was found to answer: a small file, by the model's hash and by the tokens that it was asked. */
class KeptBase {
  private readonly path: string;

  constructor(sha256: string, questions: readonly Choices[]) {
    const hash = createHash('sha256').update(sha256);
    for (const { tokens, targets } of questions.flat()) hash.update(`${tokens.join()};${targets.join()}\n`);
    this.path = loamHome('general', `${hash.digest('hex').slice(0, 32)}.json`);
  }

  async read(): Promise<Measured | undefined> {
    try {
      const { nll, right } = JSON.parse(await readText(this.path, 4096)) as Partial<Measured>;
      return Number.isFinite(nll) && Number.isSafeInteger(right) ? { nll: nll!, right: right! } : undefined;
    } catch {
      return undefined;
    }
  }

  /** Where nothing can be written it is measured each time. */
  async write(measured: Measured): Promise<void> {
    try {
      await makeFolder(loamHome('general'), 0o700);
      await writeFileAtomic(this.path, Buffer.from(JSON.stringify(measured)));
    } catch {}
  }
}
