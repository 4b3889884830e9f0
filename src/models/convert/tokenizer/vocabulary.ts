import type { JsonObject, JsonValue } from '../../../base/json.js';
import { at, flagAt, idAt, isObject, listAt, textAt } from '../../../base/jsonAccess.js';
import type { Problems } from '../convertModel.js';
import type { HfFolder } from '../hfFolder.js';

/** A vocabulary as GGUF stores it. */
export interface Vocabulary {
  /** `tokenizer.ggml.model`. */
  readonly model: string;
  /** `tokenizer.ggml.pre`: how text is cut before merging. */
  readonly pre?: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** Of SentencePiece's pieces. */
  readonly scores?: readonly number[];
}

/** `enum llama_token_type` (llama.h). */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The character that stands for a space in SentencePiece. */
const spaceMark = '\u2581';

/** Tokens that are control tokens though some models do not mark them so (base.py, does_token_look_special). */
function looksSpecial(token: string): boolean {
  return (
    ['<pad>', '<mask>', '<2mass>', '[@BOS@]'].includes(token) ||
    (token.startsWith('<|') && token.endsWith('|>')) ||
    (token.startsWith('<\uff5c') && token.endsWith('\uff5c>')) ||
    (token.startsWith('<unused') && token.endsWith('>'))
  );
}

/** Scores of tokens that are no pieces of a SentencePiece model (base.py, _create_vocab_sentencepiece). */
const scores = { added: -1000, padding: -10000 } as const;

/** A vocabulary in the making: ids without a token are padding, tokens beyond its size are left out. */
export class TokenTable {
  readonly tokens: string[];
  readonly types: number[];
  readonly scores: number[];
  /** Largest id that was put. */
  largest = -1;

  constructor(readonly size: number) {
    this.tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
    this.types = new Array<number>(size).fill(tokenType.unused);
    this.scores = new Array<number>(size).fill(scores.padding);
  }

  put(id: number, text: string, type: number, score: number = scores.added): void {
    this.largest = Math.max(this.largest, id);
    if (id < this.size) [this.tokens[id], this.types[id], this.scores[id]] = [text, type, score];
  }

  putAdded(id: number, text: string, special: boolean): void {
    if (special || looksSpecial(text)) this.put(id, text, tokenType.control);
    else this.put(id, text.replaceAll(spaceMark, ' '), tokenType.userDefined);
  }

  /** A token beyond the vocabulary's size is a mismatch in a folder. */
  check(problems: Problems): void {
    if (this.largest < this.size) return;
    problems.add(`the tokeniser has a token ${this.largest}, and vocab_size is ${this.size}`);
  }
}

/** Texts and ids of tokenizer.json's model; ids that are none, or stand twice, are problems. */
export function* modelTokens({ tokenizer }: HfFolder, problems: Problems): Generator<[text: string, id: number]> {
  const vocabulary = at(tokenizer, 'model', 'vocab');
  const taken = new Set<number>();
  for (const [text, id] of isObject(vocabulary) ? vocabulary : []) {
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0 || taken.has(id)) {
      problems.add(`a token of tokenizer.json whose id is ${typeof id === 'number' ? id : 'no number'}`);
      continue;
    }
    taken.add(id);
    yield [text, id];
  }
}

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

/**
 * The printable characters that stand for the 256 bytes in byte-level BPE (Radford et al. 2019, encoder.py, bytes_to_unicode): visible
 * ones for themselves, the others from U+0100 on.
 */
function build(): string[] {
  const visible = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let extra = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : extra++));
}

export const byteCharacters: readonly string[] = build();

/** The byte that a character stands for. */
const characterBytes: ReadonlyMap<string, number> = new Map(byteCharacters.map((c, byte) => [c, byte]));

/** Text as the stand-ins of its UTF-8 bytes. */
export function toByteCharacters(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text)) out += byteCharacters[byte];
  return out;
}

/** The text that stand-ins spell; undefined where one of them is none. Incomplete characters become U+FFFD. */
export function fromByteCharacters(text: string): string | undefined {
  const bytes: number[] = [];
  for (const character of text) {
    const byte = characterBytes.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Buffer.from(bytes).toString('utf8');
}

/**
 * Byte-pair encoding of one piece (Sennrich et al. 2016): the pair of neighbours with the lowest rank is joined, the leftmost first,
 * until no pair has one.
 * @returns ids, or undefined where a part is not in the vocabulary
 */
export function mergePieces(
  piece: string,
  vocabulary: JsonObject,
  ranks: ReadonlyMap<string, number>,
  ignoreMerges: boolean,
): number[] | undefined {
  const whole = vocabulary.get(piece);
  if (ignoreMerges && typeof whole === 'number') return [whole];
  const parts = [...piece];
  for (;;) {
    let best = Number.POSITIVE_INFINITY;
    let place = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`);
      if (rank !== undefined && rank < best) [best, place] = [rank, i];
    }
    if (place < 0) break;
    parts.splice(place, 2, parts[place]! + parts[place + 1]!);
  }
  const ids = parts.map((part) => vocabulary.get(part));
  return ids.every((id) => typeof id === 'number') ? (ids as number[]) : undefined;
}
