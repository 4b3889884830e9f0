import { readFile } from 'node:fs/promises';
import { LoamError } from '../base/errors.js';
import type { General } from '../base/lost.js';
import { packagePath } from '../base/package.js';
import { encodeExamples } from '../examples/encode.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { Kept } from './Kept.js';
import type { Measured, MeasuringOptions, ScoredSequence, Yardstick } from './Yardstick.js';

/**
 * The general questions, asked in stock libllama: how likely the right answers are, and of how many questions the right answer is the
 * likeliest of four. Nothing is generated, which on a phone would take minutes.
 */

const file = packagePath('assets/general/questions.json');

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
      source: { file, line: 1 + index, index },
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

interface Answered {
  /** Mean in nats per token of the right answers. */
  nll: number;
  right: number;
}

/**
 * Asks the base model and the model with the adapter. What the base answers is kept in LOAM_HOME.
 * @param sha256 of the base model's file
 * @param questions at least one
 * @throws LoamError when a likelihood is not a finite number
 */
export async function measureGeneral(
  yardstick: Yardstick,
  sha256: string,
  questions: readonly Choices[],
  options: MeasuringOptions = {},
): Promise<General> {
  const { signal, onProgress } = options;
  const sequences = questions.flat();
  const kept = new Kept(
    sha256,
    'answers, read together',
    sequences.flatMap(({ tokens, targets }) => [tokens, targets]),
  );
  const known = readAnswered(await kept.read(4096));
  const passes = known ? 1 : 2;
  const ask = async (side: Measured, pass: number): Promise<Answered> => {
    const scores = await yardstick.scores(sequences, side, {
      signal,
      onProgress: (done, total) => {
        const share = (pass + done / total) * questions.length;
        onProgress?.(Math.floor(share), passes * questions.length);
      },
    });
    const found = { sum: 0, tokens: 0, right: 0 };
    let at = 0;
    for (const choices of questions) {
      const means = choices.map(({ targets }) => scores[at++]! / targets.length);
      if (means.every((mean, i) => i === 0 || means[0]! < mean)) found.right++;
      found.sum += means[0]! * choices[0]!.targets.length;
      found.tokens += choices[0]!.targets.length;
    }
    return { nll: found.sum / found.tokens, right: found.right };
  };
  const base = known ?? (await ask('base', 0));
  if (!known) await kept.write(JSON.stringify(base));
  const adapted = await ask('adapted', passes - 1);
  return {
    questions: questions.length,
    nll: { base: base.nll, adapted: adapted.nll },
    right: { base: base.right, adapted: adapted.right },
  };
}

function readAnswered(kept: Uint8Array | undefined): Answered | undefined {
  try {
    const { nll, right } = JSON.parse(Buffer.from(kept ?? []).toString('utf8')) as Partial<Answered>;
    return Number.isFinite(nll) && Number.isSafeInteger(right) ? { nll: nll!, right: right! } : undefined;
  } catch {
    return undefined;
  }
}
