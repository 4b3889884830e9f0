import type { JsonValue } from '../../util/parseJson.js';
import type { HfFolder } from '../HfFolder.js';
import { at, flagAt, idAt, isObject, listAt, textAt } from '../json.js';
import type { Problems } from '../Problems.js';

/** A token that is taken out of a text as a whole, before it is cut. */
export interface AddedToken {
  readonly id: number;
  readonly text: string;
  readonly special: boolean;
  /** Looked for in the text as normalised, instead of as written. */
  readonly normalised: boolean;
  /** Whether it takes spaces before it, after it, or only stands as a word. */
  readonly stripsLeft: boolean;
  readonly stripsRight: boolean;
  readonly singleWord: boolean;
}

function readToken(value: JsonValue | undefined, id: number | undefined): AddedToken | undefined {
  const text = textAt(value, 'content');
  if (text === undefined || text === '' || id === undefined) return undefined;
  const special = flagAt(value, 'special') ?? false;
  return {
    id,
    text,
    special,
    normalised: flagAt(value, 'normalized') ?? !special,
    stripsLeft: flagAt(value, 'lstrip') ?? false,
    stripsRight: flagAt(value, 'rstrip') ?? false,
    singleWord: flagAt(value, 'single_word') ?? false,
  };
}

/** Tokens that tokenizer_config.json names for a purpose: transformers makes them special. */
const purposes = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/**
 * The added tokens by id: those of tokenizer.json, with the flags that tokenizer_config.json gives them, as transformers joins them.
 * Where the two contradict each other, that is a problem.
 */
export function readAddedTokens(folder: HfFolder, problems: Problems): Map<number, AddedToken> {
  const byId = new Map<number, AddedToken>();
  const vocabulary = at(folder.tokenizer, 'model', 'vocab');
  for (const value of listAt(folder.tokenizer, 'added_tokens')) {
    const token = readToken(value, idAt(value, 'id'));
    if (token) byId.set(token.id, token);
    else problems.add('an added token in tokenizer.json without text or id');
  }
  const decoder = at(folder.tokenizerConfig, 'added_tokens_decoder');
  for (const [key, value] of isObject(decoder) ? decoder : []) {
    const token = readToken(value, /^\d{1,9}$/.test(key) ? Number(key) : undefined);
    if (!token) continue;
    const known = byId.get(token.id)?.text ?? token.text;
    const inside = isObject(vocabulary) ? (vocabulary.get(token.text) ?? token.id) : token.id;
    if (known === token.text && inside === token.id) byId.set(token.id, token);
    else problems.add(`tokenizer.json and tokenizer_config.json disagree about token ${token.id}`);
  }
  const texts = new Set([...byId.values()].map((token) => token.text));
  let free = isObject(vocabulary) ? vocabulary.size : 0;
  for (const id of byId.keys()) free = Math.max(free, id + 1);
  for (const key of purposes) {
    const text = textAt(folder.tokenizerConfig, key) ?? textAt(folder.tokenizerConfig, key, 'content');
    if (text === undefined || text === '' || texts.has(text)) continue;
    texts.add(text);
    // One that is nowhere else gets the next free id, as the tokenizers library gives it.
    const id = idAt(vocabulary, text) ?? free++;
    const plain = { stripsLeft: false, stripsRight: false, singleWord: false };
    byId.set(id, { id, text, special: true, normalised: false, ...plain });
  }
  return byId;
}
