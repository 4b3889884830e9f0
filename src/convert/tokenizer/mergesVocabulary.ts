import type { HfFolder } from '../HfFolder.js';
import { at, isObject, listAt, textAt } from '../json.js';
import type { Problems } from '../Problems.js';
import { readAddedTokens } from './addedTokens.js';
import { mergeRanks } from './encodeText.js';
import { looksSpecial, spaceMark, tokenType, type Vocabulary } from './Vocabulary.js';

/**
 * The vocabulary of a SentencePiece model that came as tokenizer.json only, as newer releases of transformers save it. llama.cpp's own
 * converter gives each token of such a folder the same score (or refuses Gemma 3), and text is then cut otherwise than in training. Here
 * the scores are the ranks of the merges, which is where those came from, so that both join the same pieces first.
 */
export function mergesVocabulary(folder: HfFolder, size: number, problems: Problems): Vocabulary {
  const added = readAddedTokens(folder, problems);
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(size).fill(tokenType.unused);
  const scores = new Array<number>(size).fill(-10000);
  const ranks = mergeRanks(listAt(folder.tokenizer, 'model', 'merges'));
  const best = new Map<string, number>();
  for (const [pair, rank] of ranks) {
    const joined = pair.replace(' ', '');
    if (!best.has(joined)) best.set(joined, rank);
  }
  const unknown = textAt(folder.tokenizer, 'model', 'unk_token');
  const vocabulary = at(folder.tokenizer, 'model', 'vocab');
  const taken = new Set<number>();
  for (const [text, id] of isObject(vocabulary) ? vocabulary : []) {
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0 || id >= size || taken.has(id)) {
      problems.add(`a token of tokenizer.json whose id is ${typeof id === 'number' ? id : 'no number'}`);
      continue;
    }
    taken.add(id);
    tokens[id] = text;
    scores[id] = -(best.get(text) ?? ranks.size);
    types[id] =
      text === unknown ? tokenType.unknown : /^<0x[0-9A-Fa-f]{2}>$/.test(text) ? tokenType.byte : tokenType.normal;
  }
  for (const { id, text, special } of added.values()) {
    if (id >= size) {
      problems.add(`the tokeniser has a token ${id}, and vocab_size is ${size}`);
      continue;
    }
    const control = special || looksSpecial(text);
    tokens[id] = control ? text : text.replaceAll(spaceMark, ' ');
    types[id] = control ? tokenType.control : tokenType.userDefined;
    scores[id] = -1000;
  }
  return { model: 'llama', pre: 'default', tokens, types, scores };
}
