import { bool } from '../../gguf/buildValues.js';
import type { GgufValue } from '../../gguf/values.js';
import { LoamError } from '../../util/errors.js';
import type { HfFolder } from '../HfFolder.js';
import type { HfSettings } from '../HfSettings.js';
import { at, flagAt, listAt, textAt } from '../json.js';
import type { Problems } from '../Problems.js';
import { bpeVocabulary } from './bpeVocabulary.js';
import { mergesVocabulary } from './mergesVocabulary.js';
import { sentencePieceVocabulary } from './sentencePieceVocabulary.js';
import { readSpecialTokens } from './specialTokens.js';
import { specialMetadata, vocabularyMetadata } from './tokenizerMetadata.js';
import type { Vocabulary } from './Vocabulary.js';

export interface ConvertedTokenizer {
  readonly metadata: readonly [string, GgufValue][];
  /** Number of tokens. */
  readonly size: number;
  /** What is worth telling: how it was recognised, where it is not from the usual file. */
  readonly notes: readonly string[];
}

/** Whether a text is begun with a space before it is cut, as tokenizer.json of a SentencePiece model says. */
function addsSpace(folder: HfFolder): boolean {
  const steps = [at(folder.tokenizer, 'normalizer'), ...listAt(folder.tokenizer, 'normalizer', 'normalizers')];
  if (steps.some((step) => textAt(step, 'type') === 'Prepend')) return true;
  const cut = at(folder.tokenizer, 'pre_tokenizer');
  if (textAt(cut, 'type') !== 'Metaspace') return false;
  return (textAt(cut, 'prepend_scheme') ?? 'always') !== 'never' && flagAt(cut, 'add_prefix_space') !== false;
}

/**
 * The tokeniser of a folder as metadata of GGUF: from tokenizer.model where there is one, else from tokenizer.json.
 * @throws LoamError for a folder without a tokeniser, UnsupportedError for one that llama.cpp does not know
 */
export function readTokenizer(folder: HfFolder, settings: HfSettings, problems: Problems): ConvertedTokenizer {
  const { family, vocabulary: size } = settings;
  const notes: string[] = [];
  const before: [string, GgufValue][] = [];
  const after: [string, GgufValue][] = [];
  const llama = family.architecture === 'llama';
  const gemma = family.architecture === 'gemma3';
  const spacePrefix = flagAt(folder.tokenizerConfig, 'add_prefix_space');
  if (llama && spacePrefix !== undefined) before.push(['tokenizer.ggml.add_space_prefix', bool(spacePrefix)]);
  let vocabulary: Vocabulary;
  if (folder.sentencePiece) {
    vocabulary = sentencePieceVocabulary(folder, folder.sentencePiece, size);
  } else if (!folder.tokenizer) {
    throw new LoamError({
      found: 'no tokeniser',
      expected: 'tokenizer.json or tokenizer.model',
      where: folder.path,
      fix: 'in Python: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)',
    });
  } else if (textAt(folder.tokenizer, 'model', 'type') !== 'BPE') {
    throw new LoamError({
      found: 'a tokeniser that is not byte-pair encoding',
      expected: 'BPE, as these families have',
      where: `${folder.path}/tokenizer.json`,
    });
  } else if (flagAt(folder.tokenizer, 'model', 'byte_fallback')) {
    vocabulary = mergesVocabulary(folder, size, problems);
    if (llama && spacePrefix === undefined) after.push(['tokenizer.ggml.add_space_prefix', bool(addsSpace(folder))]);
    notes.push('there is no tokenizer.model: the scores of tokens are taken from the merges in tokenizer.json');
  } else {
    const { vocabulary: bpe, pre } = bpeVocabulary(folder, size, problems);
    vocabulary = bpe;
    if (!pre.known) notes.push(`llama.cpp does not know this vocabulary; it cuts text as "${pre.name}" does`);
  }
  const bpe = vocabulary.model === 'gpt2';
  const special = readSpecialTokens(folder, bpe, bpe ? undefined : size);
  if (gemma) after.push(['tokenizer.ggml.add_space_prefix', bool(false)]);
  // granite's and SmolLM's vocabulary (conversion/llama.py, set_vocab).
  if (llama && size === 49152) after.push(['tokenizer.ggml.add_bos_token', bool(false)]);
  return {
    metadata: [...before, ...vocabularyMetadata(vocabulary), ...specialMetadata(special), ...after],
    size: vocabulary.tokens.length,
    notes,
  };
}
