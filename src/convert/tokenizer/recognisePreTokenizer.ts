import { createHash } from 'node:crypto';
import { UnsupportedError } from '../../util/errors.js';
import type { JsonValue } from '../../util/parseJson.js';
import type { HfFolder } from '../HfFolder.js';
import { at, flagAt, listAt, textAt } from '../json.js';
import type { AddedToken } from './addedTokens.js';
import { encodeText } from './encodeText.js';
import { knownTokenizers, testString } from './knownTokenizers.js';

/** What a normaliser or pre-tokeniser does, in short; what does not change the pieces (trim_offsets) is left out. */
function shorten(step: JsonValue | undefined): string {
  if (step === undefined || step === null) return '';
  const type = textAt(step, 'type') ?? '?';
  switch (type) {
    case 'Sequence':
      return [...listAt(step, 'pretokenizers'), ...listAt(step, 'normalizers')].map(shorten).join(' + ');
    case 'Split':
      return `${textAt(step, 'behavior')} ${textAt(step, 'pattern', 'Regex') ?? 'literal'}${flagAt(step, 'invert') ? ' inverted' : ''}`;
    case 'Digits':
      return `Digits ${flagAt(step, 'individual_digits') ? 'each' : 'together'}`;
    case 'ByteLevel':
      return `ByteLevel${flagAt(step, 'add_prefix_space') ? ' prefix' : ''}${at(step, 'use_regex') === false ? '' : ' gpt2'}`;
    default:
      return type;
  }
}

const words = (digits: string) =>
  `Isolated (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+ + ByteLevel`;

/** The families' own pre-tokenisers, for vocabularies that llama.cpp has not seen: normaliser, pre-tokeniser, whether whole words come first. */
const structures: ReadonlyMap<string, string> = new Map([
  [' | Digits each + ByteLevel gpt2 | false', 'smollm'],
  [` | ${words('\\p{N}{1,3}')} | true`, 'llama-bpe'],
  [`NFC | ${words('\\p{N}')} | false`, 'qwen2'],
  [' | ByteLevel gpt2 | false', 'gpt-2'],
]);

export interface PreTokenizer {
  /** `tokenizer.ggml.pre`. */
  readonly name: string;
  /** Whether llama.cpp knows this very vocabulary; otherwise it is recognised by how it cuts text. */
  readonly known: boolean;
}

/** The hash of the test string's tokens, as `sha256(str(tokenizer.encode(...)))` in Python. */
export function hashOf(ids: readonly number[]): string {
  return createHash('sha256')
    .update(`[${ids.join(', ')}]`)
    .digest('hex');
}

/**
 * Which of llama.cpp's pre-tokenisers cuts text as this tokenizer.json does. As its converter, by the tokens of a test string; where that
 * does not know the vocabulary, by the rules themselves.
 * @throws UnsupportedError where it is none of them
 */
export function recognisePreTokenizer(folder: HfFolder, added: ReadonlyMap<number, AddedToken>): PreTokenizer {
  const encoded = encodeText(folder, added, testString);
  if (encoded) {
    const { before, ids, after } = encoded;
    // tokenizer_config.json may overrule the post-processor, which depends on the release of transformers.
    for (const all of [[...before, ...ids, ...after], ids]) {
      const name = knownTokenizers.get(hashOf(all));
      if (name !== undefined) return { name, known: true };
    }
  }
  const { tokenizer } = folder;
  const wholeFirst = flagAt(tokenizer, 'model', 'ignore_merges') ?? false;
  const rules = `${shorten(at(tokenizer, 'normalizer'))} | ${shorten(at(tokenizer, 'pre_tokenizer'))} | ${wholeFirst}`;
  const name = structures.get(rules);
  if (name !== undefined) return { name, known: false };
  throw new UnsupportedError({
    found: 'a tokeniser that cuts text in a way that llama.cpp does not know',
    expected: 'the tokeniser of a published model of this family',
    where: `${folder.path}/tokenizer.json`,
  });
}
