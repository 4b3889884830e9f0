import type { HfFolder } from '../HfFolder.js';
import { at, isObject, textAt } from '../json.js';
import type { Problems } from '../Problems.js';
import { readAddedTokens } from './addedTokens.js';
import { fromByteCharacters } from './byteCharacters.js';
import { type PreTokenizer, recognisePreTokenizer } from './recognisePreTokenizer.js';
import { looksSpecial, spaceMark, tokenType, type Vocabulary } from './Vocabulary.js';

/**
 * The vocabulary of byte-level BPE out of tokenizer.json, as llama.cpp's converter builds it (base.py, get_vocab_base).
 * @param size of the vocabulary as config.json says; ids without a token are padding
 */
export function bpeVocabulary(
  folder: HfFolder,
  size: number,
  problems: Problems,
): { vocabulary: Vocabulary; pre: PreTokenizer } {
  const added = readAddedTokens(folder, problems);
  const pre = recognisePreTokenizer(folder, added);
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(size).fill(tokenType.unused);
  let largest = -1;
  const put = (id: number, text: string, type: number) => {
    largest = Math.max(largest, id);
    if (id < size) [tokens[id], types[id]] = [text, type];
  };
  const vocabulary = at(folder.tokenizer, 'model', 'vocab');
  const taken = new Set<number>();
  for (const [text, id] of isObject(vocabulary) ? vocabulary : []) {
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0 || taken.has(id)) {
      problems.add(`a token of tokenizer.json whose id is ${typeof id === 'number' ? id : 'no number'}`);
      continue;
    }
    taken.add(id);
    put(id, text, tokenType.normal);
  }
  const byteLevel = textAt(folder.tokenizer, 'decoder', 'type') === 'ByteLevel';
  for (const { id, text, special, normalised } of added.values()) {
    // llama.cpp takes the text of such tokens as it is: without the stand-ins of bytes.
    const plain = normalised || !byteLevel ? text : (fromByteCharacters(text) ?? text);
    if (special || looksSpecial(plain)) put(id, plain, tokenType.control);
    else put(id, plain.replaceAll(spaceMark, ' '), tokenType.userDefined);
  }
  if (largest >= size) problems.add(`the tokeniser has a token ${largest}, and vocab_size is ${size}`);
  return { vocabulary: { model: 'gpt2', pre: pre.name, tokens, types }, pre };
}
