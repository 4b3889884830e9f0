import type { HfFolder } from '../HfFolder.js';
import { at, flagAt, isObject, textAt } from '../json.js';
import { readSentencePiece } from './readSentencePiece.js';
import { looksSpecial, spaceMark, tokenType, type Vocabulary } from './Vocabulary.js';

/** Scores of tokens that are no pieces of the model (base.py, _create_vocab_sentencepiece). */
const ADDED_SCORE = -1000;
const PADDING_SCORE = -10000;

/**
 * The vocabulary of a folder with tokenizer.model: its pieces, then what added_tokens.json and tokenizer_config.json put in their
 * places. As llama.cpp's converter builds it (base.py, _create_vocab_sentencepiece).
 * @param size of the vocabulary as config.json says; ids without a piece are padding
 */
export function sentencePieceVocabulary(folder: HfFolder, sentencePiece: Uint8Array, size: number): Vocabulary {
  const pieces = readSentencePiece(sentencePiece, `${folder.path}/tokenizer.model`);
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const scores = new Array<number>(size).fill(PADDING_SCORE);
  const types = new Array<number>(size).fill(tokenType.unused);
  for (const [id, { text, score, type }] of pieces.slice(0, size).entries()) {
    tokens[id] = text;
    scores[id] = score;
    // What a piece of the user's is to SentencePiece, is a normal one here: only added tokens are the user's.
    types[id] = type === tokenType.userDefined ? tokenType.normal : type;
  }
  const put = (id: number, text: string, type: number) => {
    if (id >= size) return;
    tokens[id] = text;
    scores[id] = ADDED_SCORE;
    types[id] = type;
  };
  for (const [text, id] of folder.addedTokens ?? []) {
    if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0) put(id, text, tokenType.userDefined);
  }
  const decoder = at(folder.tokenizerConfig, 'added_tokens_decoder');
  for (const [key, token] of isObject(decoder) ? decoder : []) {
    const text = textAt(token, 'content');
    if (!/^\d{1,9}$/.test(key) || text === undefined) continue;
    if (flagAt(token, 'special') || looksSpecial(text)) put(Number(key), text, tokenType.control);
    else put(Number(key), text.replaceAll(spaceMark, ' '), tokenType.userDefined);
  }
  return { model: 'llama', pre: 'default', tokens, types, scores };
}
