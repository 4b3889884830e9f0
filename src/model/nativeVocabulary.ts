import { quote, UnsupportedError } from '../base/errors.js';
import { count } from '../base/format.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { describeValue, type GgufArray, type GgufValue } from '../formats/gguf/values.js';
import { refuse } from './nativeKeys.js';

/**
 * The tokeniser's tables as libllama reads them (llama-vocab.cpp of the pinned release). It trusts them: two tokens of one text are an
 * assertion, a byte without a token an exception while a text is read, an unending escape an endless loop.
 */

/**
 * Three kinds of tokenisers are what the families have: byte pairs (gpt2), pieces with scores (llama) and pieces with merges (gemma4).
 * The others have rules of their own, of which some loop for ever.
 */
const known = /^(gpt2|llama|gemma4)$/;

/** Ways to cut a text before byte pairs that belong to no family here: they take the text as it is, and assert what it then holds. */
const foreignCuts = ['gemma4', 'granite-embed-multi-311m', 'sarvam-moe', 'kimi-k2', 'whitespace', 'exaone-moe'];

/** With these libllama puts the token that begins a text in front, unless the file says no. */
const beginsText =
  /^(llama3|llama-v3|llama-bpe|falcon3|falcon-h1|pixtral|midm-2\.0|lfm2|jina-v5-nano|tekken|chameleon)$/;

/** The longest known tokens are some hundred bytes of one character. */
const maxTokenBytes = 4096;

/** Control tokens and those that a user defined: each is looked for in every text. Gemma 3 has 6,000. */
const maxMarks = 12_288;
const maxMarkBytes = 1 << 20;

/** A byte-level token with characters that stand for no byte is written out once for each of them. */
const maxSpelled = 16 << 20;
const standsForNoByte = /[^!-~\u00a1-\u00ac\u00ae-\u0143]/gu;

const prefix = 'tokenizer.ggml.';

/** Each of them by itself, behind the prefix. */
const scalars: ReadonlyMap<string, string> = new Map(
  [
    ['string', 'model pre'],
    ['bool', 'add_bos_token add_eos_token add_sep_token add_space_prefix remove_extra_whitespaces'],
    ['bool', 'normalizer.lowercase normalizer.strip_accents'],
    ['u32', 'token_type_count bos_token_id eos_token_id eot_token_id eom_token_id unknown_token_id'],
    ['u32', 'seperator_token_id padding_token_id cls_token_id mask_token_id fim_pre_token_id fim_suf_token_id'],
    ['u32', 'fim_mid_token_id fim_pad_token_id fim_rep_token_id fim_sep_token_id prefix_token_id suffix_token_id'],
    ['u32', 'middle_token_id'],
  ].flatMap(([kind, keys]) => keys!.split(' ').map((key): [string, string] => [key, kind!])),
);

const lists: ReadonlyMap<string, readonly string[]> = new Map([
  ['tokens', ['string']],
  ['merges', ['string']],
  ['scores', ['f32', 'i32']],
  ['token_type', ['i32']],
  ['suppress_tokens', ['i32']],
  ['precompiled_charsmap', ['u8', 'i8']],
]);

/** `enum llama_token_type` of llama.h. */
const types = { unknown: 2, control: 3, userDefined: 4, byte: 6, last: 6 } as const;

/** Whether texts hold this byte: the others are in no UTF-8. */
const isUsed = (byte: number): boolean => byte < 0xc0 || (byte > 0xc1 && byte < 0xf5);

/**
 * Checks all that libllama reads of a tokeniser: types, sizes of the tables, texts, token types, merges, scores, special tokens.
 * @param vocabulary rows of the embedding table
 * @throws LoamError that lists every mismatch, UnsupportedError for a tokeniser of another kind
 */
export function checkNativeVocabulary(gguf: Gguf, vocabulary: number): void {
  const problems: string[] = [];
  for (const [key, value] of gguf.metadata) {
    const wrong = key.startsWith(prefix) ? wrongType(key.slice(prefix.length), value) : undefined;
    if (wrong !== undefined) problems.push(`${key} is ${describeValue(value)}, expected ${wrong}`);
  }
  // Everything below relies on the types.
  refuse(gguf.path, problems);
  const kind = gguf.string(`${prefix}model`);
  const cut = gguf.string(`${prefix}pre`, '');
  if (!known.test(kind) || (kind === 'gpt2' && foreignCuts.includes(cut))) {
    throw new UnsupportedError({
      found: `a tokeniser of the kind ${quote(foreignCuts.includes(cut) ? cut : kind)}`,
      expected: 'byte pairs (gpt2) or pieces (llama, gemma4)',
      where: gguf.path,
    });
  }
  const tables = new Tables(gguf, kind as Kind, problems);
  tables.checkTokens(vocabulary);
  if (problems.length === 0) tables.checkTexts();
  tables.checkSpecial(cut);
  if (kind !== 'llama') tables.checkMerges();
  refuse(gguf.path, problems);
}

/** The type that libllama reads a key as, where the file has another. */
function wrongType(key: string, value: GgufValue): string | undefined {
  const scalar = scalars.get(key);
  if (scalar !== undefined) return value.type === scalar ? undefined : `a ${scalar}`;
  const list = lists.get(key);
  if (list === undefined) return undefined;
  return value.type === 'array' && list.includes(value.of) ? undefined : `an array of ${list.join(' or ')}`;
}

type Kind = 'gpt2' | 'llama' | 'gemma4';

class Tables {
  private readonly tokens: readonly string[];

  constructor(
    private readonly gguf: Gguf,
    private readonly kind: Kind,
    private readonly problems: string[],
  ) {
    this.tokens = gguf.strings(`${prefix}tokens`);
  }

  private list(key: string): GgufArray | undefined {
    return this.gguf.metadata.get(prefix + key) as GgufArray | undefined;
  }

  /** As many of everything as there are tokens. */
  checkTokens(vocabulary: number): void {
    const { length } = this.tokens;
    if (length !== vocabulary) {
      this.problems.push(`${count(length)} tokens, and token_embd.weight has ${count(vocabulary)} rows`);
    }
    for (const key of ['scores', 'token_type']) {
      const list = this.list(key)?.value;
      if (list && list.length !== length) {
        this.problems.push(`${prefix}${key} has ${count(list.length)} entries for ${count(length)} tokens`);
      }
    }
    const scores = this.list('scores')?.value as Float32Array | undefined;
    const wrong = scores?.findIndex((score) => !Number.isFinite(score)) ?? -1;
    if (wrong >= 0) this.problems.push(`the score of token ${wrong} is ${scores![wrong]}`);
    const kinds = this.list('token_type')?.value as Int32Array | undefined;
    const odd = kinds?.findIndex((type) => type < 0 || type > types.last) ?? -1;
    if (odd >= 0) this.problems.push(`the type of token ${odd} is ${kinds![odd]}, expected 0 to ${types.last}`);
  }

  checkTexts(): void {
    const { tokens, problems, kind: model } = this;
    const kinds = this.list('token_type')?.value as Int32Array | undefined;
    const raw = (this.list('tokens') as { raw?: ReadonlyMap<number, Uint8Array> }).raw;
    const seen = new Map<string, number>();
    let [marks, markBytes, spelled] = [0, 0, 0];
    for (const [i, text] of tokens.entries()) {
      const stored = raw?.get(i);
      const named = text === '' ? `[EMPTY_${i}]` : stored ? `\0${Buffer.from(stored).toString('latin1')}` : text;
      const before = seen.get(named);
      if (before !== undefined) problems.push(`tokens ${before} and ${i} are both ${quote(text)}`);
      seen.set(named, i);
      const bytes = stored?.length ?? Buffer.byteLength(text);
      if (bytes > maxTokenBytes)
        problems.push(`token ${i} has ${count(bytes)} bytes, expected at most ${maxTokenBytes}`);
      if (stored && model !== 'llama') problems.push(`token ${i} is not UTF-8`);
      const kind = kinds?.[i] ?? 1;
      if (kind === types.byte && !/^<0x[0-9A-F]{2}>$/.test(text)) {
        problems.push(`token ${i} stands for a byte and is ${quote(text)}, expected one such as "<0x0A>"`);
      }
      if (kind === types.control || kind === types.userDefined || kind === types.unknown) {
        marks++;
        markBytes += bytes;
      } else if (model === 'gpt2') {
        spelled += (text.match(standsForNoByte)?.length ?? 0) * bytes;
      }
      if (problems.length > 100) break;
    }
    if (marks > maxMarks || markBytes > maxMarkBytes) {
      problems.push(`${count(marks)} control tokens of ${count(markBytes)} bytes, expected at most ${count(maxMarks)}`);
    }
    if (spelled > maxSpelled) problems.push('byte-level tokens whose characters stand for no bytes');
    if (model !== 'gpt2') this.checkBytes(seen, raw);
  }

  /** What no piece covers becomes bytes: libllama throws where one of them has no token. */
  private checkBytes(seen: ReadonlyMap<string, number>, raw: ReadonlyMap<number, Uint8Array> | undefined): void {
    const single = new Set([...(raw?.values() ?? [])].filter(({ length }) => length === 1).map(([byte]) => byte!));
    const missing: string[] = [];
    for (let byte = 0; byte < 256; byte++) {
      const name = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
      const alone = byte < 0x80 ? seen.has(String.fromCharCode(byte)) : single.has(byte);
      if (isUsed(byte) && !seen.has(name) && !alone) missing.push(name);
    }
    if (missing.length > 0) this.problems.push(`no token for ${count(missing.length)} bytes, the first ${missing[0]}`);
  }

  /** Special tokens that decide what is read and where an answer ends; libllama passes over others that are out of range. */
  checkSpecial(cut: string): void {
    const { gguf, kind, tokens } = this;
    for (const name of ['bos', 'eos', 'eot', 'eom']) {
      const id = gguf.number(`${prefix}${name}_token_id`, 0);
      if (id >= tokens.length) {
        this.problems.push(`${prefix}${name}_token_id is ${id}, expected less than ${count(tokens.length)}`);
      }
    }
    // Its own defaults: 11 for byte pairs, 1 and 2 for pieces with scores; none for those with merges, which it begins whatever is said.
    const [bos, eos] = { gpt2: [11, 11], llama: [1, 2], gemma4: [tokens.length, tokens.length] }[kind] as [
      number,
      number,
    ];
    const has = (name: string, usual: number) => gguf.has(`${prefix}${name}_token_id`) || usual < tokens.length;
    const says = gguf.boolean(`${prefix}add_bos_token`, kind !== 'gpt2' || beginsText.test(cut));
    const begins = says || kind === 'gemma4';
    const ends = gguf.boolean(`${prefix}add_eos_token`, false);
    const unnamed = /^(glm4|chatglm-bpe)$/.test(cut);
    if (begins && !has('bos', unnamed ? tokens.length : bos)) {
      this.problems.push('a token that begins every text, and none is named');
    }
    if (ends && !has('eos', eos)) this.problems.push('a token that ends every text, and none is named');
  }

  /** Two texts with a space between them. */
  checkMerges(): void {
    const merges = this.gguf.strings(`${prefix}merges`);
    const wrong = merges.findIndex((merge) => {
      const at = merge.indexOf(' ', 1);
      return at < 1 || at === merge.length - 1;
    });
    if (wrong >= 0) this.problems.push(`merge ${wrong} is ${quote(merges[wrong]!)}, expected two texts and a space`);
  }
}
