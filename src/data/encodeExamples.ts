import type { Tokenizer } from '../model/tokenizer.js';
import { throwIfStopped } from '../util/errors.js';
import type { Example } from './types.js';

/** One token sequence of an example, ready to compute with. */
export interface Sequence {
  tokens: Int32Array;
  /** Positions of the tokens to be learnt, ascending; each is predicted from the position before it, so none is 0. */
  targets: Int32Array;
  /** Index of the example in the list that was encoded. */
  example: number;
}

export interface EncodedExamples {
  sequences: Sequence[];
  /** Examples longer than the limit, which are left out whole: a cut answer would teach the model to stop in mid-sentence. */
  tooLong: { example: number; tokens: number }[];
}

/** Milliseconds of encoding between two looks at the event loop. */
const sliceMs = 20;

/** Renders and tokenises examples with the model's own template. */
export async function encodeExamples(
  tokenizer: Tokenizer,
  examples: readonly Example[],
  options: { maxTokens: number; signal?: AbortSignal },
): Promise<EncodedExamples> {
  const sequences: Sequence[] = [];
  const tooLong: EncodedExamples['tooLong'] = [];
  let last = performance.now();
  for (const [index, example] of examples.entries()) {
    throwIfStopped(options.signal);
    const encoded = await tokenizer.encode(example.messages);
    const longest = encoded.reduce((max, { tokens }) => Math.max(max, tokens.length), 0);
    if (longest > options.maxTokens) {
      tooLong.push({ example: index, tokens: longest });
      continue;
    }
    for (const { tokens, trained } of encoded) {
      const targets = Int32Array.from(trained.keys()).filter((position) => trained[position] === 1 && position > 0);
      if (targets.length > 0) sequences.push({ tokens, targets, example: index });
    }
    if (performance.now() - last > sliceMs) {
      await new Promise((resolve) => setImmediate(resolve));
      last = performance.now();
    }
  }
  return { sequences, tooLong };
}
