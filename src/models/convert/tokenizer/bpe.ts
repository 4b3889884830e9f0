import type { JsonObject } from '../../../base/json.js';
import { isList, isObject, listAt, textAt } from '../../../base/jsonAccess.js';
import type { OwnPieces } from '../../../families/huggingFace.js';
import type { Problems } from '../convertModel.js';
import type { HfFolder } from '../hfFolder.js';
import { mergeRanks } from './encodeText.js';
import { type PreTokenizer, recognisePreTokenizer } from './preTokenizer.js';
import {
  fromByteCharacters,
  modelTokens,
  readAddedTokens,
  TokenTable,
  tokenType,
  type Vocabulary,
} from './vocabulary.js';

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
  const table = new TokenTable(size);
  for (const [text, id] of modelTokens(folder, problems)) table.put(id, text, tokenType.normal);
  const byteLevel = textAt(folder.tokenizer, 'decoder', 'type') === 'ByteLevel';
  for (const { id, text, special, normalised } of added.values()) {
    // llama.cpp takes the text of such tokens as it is: without the stand-ins of bytes.
    table.putAdded(id, normalised || !byteLevel ? text : (fromByteCharacters(text) ?? text), special);
  }
  table.check(problems);
  const { tokens, types } = table;
  return { vocabulary: { model: 'gpt2', pre: pre.name, tokens, types }, pre };
}

/**
 * The vocabulary of a SentencePiece model that came as tokenizer.json only, as newer releases of transformers save it. llama.cpp's own
 * converter gives each token of such a folder the same score (or refuses Gemma 3), and text is then cut otherwise than in training. Here
 * the scores are the ranks of the merges, which is where those came from, so that both join the same pieces first.
 */
export function mergesVocabulary(folder: HfFolder, size: number, problems: Problems): Vocabulary {
  const added = readAddedTokens(folder, problems);
  const ranks = mergeRanks(listAt(folder.tokenizer, 'model', 'merges'));
  const best = new Map<string, number>();
  for (const [pair, rank] of ranks) {
    const joined = pair.replace(' ', '');
    if (!best.has(joined)) best.set(joined, rank);
  }
  const unknown = textAt(folder.tokenizer, 'model', 'unk_token');
  const table = new TokenTable(size);
  for (const [text, id] of modelTokens(folder, problems)) {
    const type = text === unknown ? tokenType.unknown : isByte.test(text) ? tokenType.byte : tokenType.normal;
    table.put(id, text, type, -(best.get(text) ?? ranks.size));
  }
  for (const { id, text, special } of added.values()) table.putAdded(id, text, special);
  table.check(problems);
  const { tokens, types, scores } = table;
  return { model: 'llama', pre: 'default', tokens, types, scores };
}

/** What tokenizer_config.json names as a special token: `bos_token` and all that are called so, and lists of more. */
function namedTokens(config: JsonObject | undefined): string[] {
  const named = [...(config ?? [])].filter(([key]) => key.endsWith('_token')).map(([, value]) => value);
  const more = ['extra_special_tokens', 'additional_special_tokens', 'model_specific_special_tokens']
    .map((key) => config?.get(key))
    .flatMap((value) => (isList(value) ? value : isObject(value) ? [...value.values()] : []));
  return [...named, ...more].flatMap((value) => (typeof value === 'string' ? value : (textAt(value, 'content') ?? [])));
}

/**
 * Pieces with merges, as llama.cpp's converter takes them from transformers' tokeniser (vocab.py, LlamaHfVocab; conversion/gemma.py): the
 * scores of all are the same, since none is read.
 */
export function piecesVocabulary(
  folder: HfFolder,
  { model, special, shown }: OwnPieces,
  problems: Problems,
): Vocabulary {
  const known = [...modelTokens(folder, problems)];
  const more = [...readAddedTokens(folder, problems).values()].filter(({ id }) => id >= known.length);
  const specials = new Set([...special, ...namedTokens(folder.tokenizerConfig)]);
  const table = new TokenTable(known.length + more.length);
  const put = (id: number, text: string, usual: number) =>
    table.put(id, text, shown.includes(text) ? tokenType.userDefined : specials.has(text) ? tokenType.control : usual);
  for (const [text, id] of known) put(id, text, isByte.test(text) ? tokenType.byte : tokenType.normal);
  for (const { id, text } of more) put(id, text, tokenType.userDefined);
  table.check(problems);
  const { tokens, types, scores } = table;
  return { model, tokens, types, scores };
}

const isByte = /^<0x[0-9A-Fa-f]{2}>$/;

/** A space inside a part would end it: its stand-in of byte-level BPE instead (vocab.py, SpecialVocab). */
const encodeSpaces = (part: unknown): string => String(part).replaceAll(' ', String.fromCharCode(32 + 256));

/** Merges as GGUF stores them, "left right", from tokenizer.json in either of its forms, or from merges.txt. */
export function toMerges(folder: HfFolder): string[] {
  const merges = listAt(folder.tokenizer, 'model', 'merges');
  if (merges.length > 0) {
    return merges.map((merge) => (isList(merge) ? merge.map(encodeSpaces).join(' ') : String(merge)));
  }
  const lines = (folder.mergesText ?? '').split('\n').map((line) => line.trim());
  const from = lines[0]?.startsWith('#') ? 1 : 0;
  return lines
    .slice(from)
    .map((line) => line.split(/\s+/))
    .filter((parts) => parts.length === 2)
    .map((parts) => parts.join(' '));
}
