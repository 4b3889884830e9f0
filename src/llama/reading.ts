import { LoamError, UsageError } from '../base/errors.js';
import type { Vocabulary } from '../engine/vocabulary.js';
import type { Session } from './Session.js';

/** What a model makes of texts without answering: tokens, and vectors that are near where texts are alike. */

/** Texts, or their tokens. */
export type EmbeddingInput = readonly (string | readonly number[])[];

export interface Embedded {
  /** Each [width], of length 1. */
  vectors: Float32Array[];
  /** Of all texts. */
  tokens: number;
}

/**
 * The mean of each text's hidden states (see `Session.embed`). The characters of control tokens are characters in a text.
 * @throws UsageError for an empty text or a token that there is not; LoamError: too-long
 */
export async function embed(
  session: Session,
  inputs: EmbeddingInput,
  { signal, onEach }: { signal?: AbortSignal; onEach?: () => void } = {},
): Promise<Embedded> {
  const { vocabulary, contextLength } = session;
  const sequences = inputs.map((input, i) => {
    const where = inputs.length === 1 ? 'input' : `input[${i}]`;
    if (input.length === 0) throw new UsageError({ found: 'an empty text', where, fix: 'leave it out' });
    const isText = typeof input === 'string';
    const tokens = isText ? vocabulary.tokenize(input, { bos: true }) : tokensOf(vocabulary, input, where);
    if (tokens.length <= contextLength) return tokens;
    const found = `a text of ${tokens.length} tokens`;
    throw new LoamError({
      code: 'too-long',
      found,
      expected: `at most ${contextLength}`,
      where,
      fix: 'cut it in parts',
    });
  });
  const onRead = (count: number) => {
    for (let i = 0; i < count; i++) onEach?.();
  };
  const vectors = await session.embed(sequences, { signal, onRead });
  return { vectors, tokens: sequences.reduce((sum, { length }) => sum + length, 0) };
}

/** Tokens of a question that tell what it is about: by their beginnings questions are told apart (see `fitSubject`). */
const QUESTION_TOKENS = 96;

/** The beginnings of questions as tokens, to be embedded; none of an empty one. */
export function beginningsOf(vocabulary: Vocabulary, questions: readonly string[]): Int32Array[] {
  return questions
    .map((question) => vocabulary.tokenize(question, { bos: true }).slice(0, QUESTION_TOKENS))
    .filter(({ length }) => length > 0);
}

/** Token ids from outside. @throws UsageError */
export function tokensOf(vocabulary: Vocabulary, ids: readonly number[], where: string): Int32Array {
  const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary.size);
  if (wrong === undefined) return Int32Array.from(ids);
  throw new UsageError({ found: `the token ${wrong}`, expected: `one from 0 to ${vocabulary.size - 1}`, where });
}

export type TokenRequest =
  | { text: string; special: boolean; bos: boolean }
  /** Back to a text. */
  | { tokens: readonly number[] };

/** Tokens with their bytes, or the text of tokens, control tokens by their names. */
export function readTokens(vocabulary: Vocabulary, request: TokenRequest): { id: number; bytes: Uint8Array }[] {
  const tokens =
    'tokens' in request ? tokensOf(vocabulary, request.tokens, 'tokens') : vocabulary.tokenize(request.text, request);
  return Array.from(tokens, (id) => ({ id, bytes: vocabulary.piece(id, true) }));
}
