import { readFile } from 'node:fs/promises';
import { encodeExamples, type Sequence } from '../examples/encode.js';
import type { Message } from '../examples/example.js';
import type { OpenedRun } from './lab.js';
import type { TuneOptions } from './options.js';

/** Bundled questions with plain answers, of which none is in the set that what was lost is measured on. */
const file = new URL('../../assets/general/replay.json', import.meta.url);

/**
 * The general examples that training by gradients is reminded of, as this model reads them. Where all of the user's conversations begin
 * with the same system message they do too: that is how they will be asked, and what all sequences begin with is computed once.
 * @returns undefined if training is not reminded of any
 */
export async function replaySet(
  { model, tokenizer, data, signal }: OpenedRun,
  { replay }: Pick<TuneOptions, 'replay'>,
): Promise<Sequence[] | undefined> {
  if (replay === 0) return undefined;
  const records = JSON.parse(await readFile(file, 'utf8')) as { question: string; answer: string }[];
  const system: Message[] = data.system === undefined ? [] : [{ role: 'system', content: data.system }];
  const examples = records.map(({ question, answer }, index) => ({
    messages: [
      ...system,
      { role: 'user' as const, content: question },
      { role: 'assistant' as const, content: answer },
    ],
    source: { file: file.pathname, line: 1 + index, index },
  }));
  const { contextLength } = model.hyper;
  const { sequences } = await encodeExamples(tokenizer, examples, { maxTokens: contextLength, signal });
  return sequences;
}
