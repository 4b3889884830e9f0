import { readFile } from 'node:fs/promises';
import { LoamError } from '../base/errors.js';
import { packagePath } from '../base/package.js';
import { encodeExamples, type Sequence } from '../examples/encode.js';
import type { Example, Message } from '../examples/example.js';
import type { OpenedRun } from './lab.js';
import type { TuneOptions } from './options.js';

/** Bundled questions with plain answers, of which none is in the set that what was lost is measured on. */
const file = packagePath('assets/general/replay.json');

export async function readReplay(): Promise<{ question: string; answer: string }[]> {
  return JSON.parse(await readFile(file, 'utf8')) as { question: string; answer: string }[];
}

/**
 * Their tokens as a multiple of those of the training examples, at most: about as many as are read in four epochs, so that none is read
 * often. What the model predicts of them costs about a tenth of that time.
 */
const most = 2;

/**
 * The general examples that training is reminded of, as this model reads them. Where all of the user's conversations have a system
 * message or tools they have these in turn: that is how they will be asked, and what all sequences begin with is computed once. Of few
 * examples only the first are taken, since what the model makes of them has to be computed first.
 * @returns undefined if training is not to be reminded of any
 */
export async function replaySet(
  { model, tokenizer, data, emit, signal }: OpenedRun,
  { replay }: Pick<TuneOptions, 'replay'>,
): Promise<Sequence[] | undefined> {
  if (replay === 0) return undefined;
  const records = await readReplay();
  const { beginnings } = data;
  const examples = records.map(({ question, answer }, index): Example => {
    const { system, tools } = beginnings[index % beginnings.length] ?? {};
    const turns: Message[] = [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ];
    const source = { file, line: 1 + index, index };
    return { messages: system ? [system, ...turns] : turns, ...(tools && { tools }), source };
  });
  try {
    const maxTokens = model.hyper.contextLength;
    const { sequences } = await encodeExamples(tokenizer, examples, { maxTokens, signal });
    const tokens = (list: readonly Sequence[]) => list.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
    let room = most * tokens(data.train);
    return sequences.filter(({ tokens: { length } }, i) => {
      room -= length;
      return i === 0 || room >= 0;
    });
  } catch (error) {
    if (!(error instanceof LoamError) || signal.aborted) throw error;
    const message = `this model takes no general questions, so training is not reminded of any: ${error.clause}`;
    emit({ type: 'warning', message });
    return undefined;
  }
}
