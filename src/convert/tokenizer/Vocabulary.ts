/** A vocabulary as GGUF stores it. */
export interface Vocabulary {
  /** `tokenizer.ggml.model`. */
  readonly model: 'llama' | 'gpt2';
  /** `tokenizer.ggml.pre`: how text is cut before merging. */
  readonly pre: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** Of SentencePiece's pieces. */
  readonly scores?: readonly number[];
}

/** `enum llama_token_type` (llama.h). */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The character that stands for a space in SentencePiece. */
export const spaceMark = '\u2581';

/** Tokens that are control tokens though some models do not mark them so (base.py, does_token_look_special). */
export function looksSpecial(token: string): boolean {
  return (
    ['<pad>', '<mask>', '<2mass>', '[@BOS@]'].includes(token) ||
    (token.startsWith('<|') && token.endsWith('|>')) ||
    (token.startsWith('<\uff5c') && token.endsWith('\uff5c>')) ||
    (token.startsWith('<unused') && token.endsWith('>'))
  );
}
