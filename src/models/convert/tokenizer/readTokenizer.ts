import { LoamError } from '../../../base/errors.js';
import { at, flagAt, listAt, textAt } from '../../../base/jsonAccess.js';
import type { HfSettings } from '../../../families/huggingFace.js';
import { bool, f32s, type GgufValue, i32s, str, strings, u32 } from '../../../formats/gguf/values.js';
import type { Problems } from '../convertModel.js';
import type { HfFolder } from '../hfFolder.js';
import { bpeVocabulary, mergesVocabulary, piecesVocabulary } from './bpe.js';
import { sentencePieceVocabulary } from './sentencePiece.js';
import { type NamedTemplate, readSpecialTokens, type SpecialTokens } from './specialTokens.js';
import type { Vocabulary } from './vocabulary.js';

/** GGUF keys of special tokens (gguf-py/gguf/constants.py); "seperator" is spelt so there. Those without a key are left out. */
const idKeys: Readonly<Record<string, string>> = {
  bos: 'bos_token_id',
  eos: 'eos_token_id',
  unk: 'unknown_token_id',
  sep: 'seperator_token_id',
  pad: 'padding_token_id',
  mask: 'mask_token_id',
  eot: 'eot_token_id',
  eom: 'eom_token_id',
};

const addKeys: Readonly<Record<string, string>> = { bos: 'add_bos_token', eos: 'add_eos_token', sep: 'add_sep_token' };

function vocabularyMetadata({ model, pre, tokens, scores, types }: Vocabulary): [string, GgufValue][] {
  return [
    ['tokenizer.ggml.model', str(model)],
    ...(pre === undefined ? [] : [['tokenizer.ggml.pre', str(pre)] as [string, GgufValue]]),
    ['tokenizer.ggml.tokens', strings(tokens)],
    ...(scores ? [['tokenizer.ggml.scores', f32s(scores)] as [string, GgufValue]] : []),
    ['tokenizer.ggml.token_type', i32s(types)],
  ];
}

function templateMetadata(template: string | readonly NamedTemplate[]): [string, GgufValue][] {
  if (typeof template === 'string') return template === '' ? [] : [['tokenizer.chat_template', str(template)]];
  const entries = template.map(({ name, template }) => ({ name: name.replace(/[^a-zA-Z0-9]/g, '_'), template }));
  const others = entries.filter(({ name }) => name !== '' && name !== 'default');
  const names = [...new Set(others.map(({ name }) => name))];
  const main = entries.findLast(({ name }) => name === 'default');
  return [
    ...others.map(({ name, template }): [string, GgufValue] => [`tokenizer.chat_template.${name}`, str(template)]),
    ...(names.length > 0 ? [['tokenizer.chat_templates', strings(names)] as [string, GgufValue]] : []),
    ...(main ? [['tokenizer.chat_template', str(main.template)] as [string, GgufValue]] : []),
  ];
}

/** After vocab.py, SpecialVocab.add_to_gguf, and gguf_writer.py. */
function specialMetadata(special: SpecialTokens): [string, GgufValue][] {
  const out: [string, GgufValue][] = [];
  if (special.merges.length > 0) out.push(['tokenizer.ggml.merges', strings(special.merges)]);
  for (const [kind, id] of special.ids) {
    const key = idKeys[kind];
    if (key !== undefined) out.push([`tokenizer.ggml.${key}`, u32(id)]);
  }
  for (const [kind, value] of special.adds) {
    const key = addKeys[kind];
    if (key !== undefined) out.push([`tokenizer.ggml.${key}`, bool(value)]);
  }
  if (special.chatTemplate !== undefined) for (const entry of templateMetadata(special.chatTemplate)) out.push(entry);
  if (special.lowercase !== undefined) out.push(['tokenizer.ggml.normalizer.lowercase', bool(special.lowercase)]);
  if (special.stripAccents !== undefined) {
    out.push(['tokenizer.ggml.normalizer.strip_accents', bool(special.stripAccents)]);
  }
  return out;
}

interface ConvertedTokenizer {
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
  const hints = family.huggingFace.tokenizer;
  const stated = hints?.spacePrefix === 'stated';
  const spacePrefix = flagAt(folder.tokenizerConfig, 'add_prefix_space');
  if (stated && spacePrefix !== undefined) before.push(['tokenizer.ggml.add_space_prefix', bool(spacePrefix)]);
  if (hints?.spacePrefix === 'stated last' && spacePrefix !== undefined) {
    after.push(['tokenizer.ggml.add_space_prefix', bool(spacePrefix)]);
  }
  let vocabulary: Vocabulary;
  const pieces = flagAt(folder.tokenizer, 'model', 'byte_fallback') ? hints?.pieces : undefined;
  if (folder.sentencePiece && !pieces) {
    vocabulary = sentencePieceVocabulary(folder, folder.sentencePiece, size, hints?.asMarked);
  } else if (!folder.tokenizer) {
    throw new LoamError({
      code: 'not-found',
      found: 'no tokeniser',
      expected: 'tokenizer.json or tokenizer.model',
      where: folder.path,
      fix: 'in Python: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)',
    });
  } else if (textAt(folder.tokenizer, 'model', 'type') !== 'BPE') {
    throw new LoamError({
      code: 'unsupported',
      found: 'a tokeniser that is not byte-pair encoding',
      expected: 'BPE, as these families have',
      where: `${folder.path}/tokenizer.json`,
    });
  } else if (pieces) {
    vocabulary = piecesVocabulary(folder, pieces, problems);
  } else if (flagAt(folder.tokenizer, 'model', 'byte_fallback')) {
    vocabulary = mergesVocabulary(folder, size, problems);
    if (stated && spacePrefix === undefined) after.push(['tokenizer.ggml.add_space_prefix', bool(addsSpace(folder))]);
    notes.push('there is no tokenizer.model: the scores of tokens are taken from the merges in tokenizer.json');
  } else {
    const { vocabulary: bpe, pre } = bpeVocabulary(folder, size, problems);
    vocabulary = bpe;
    if (!pre.known) notes.push(`llama.cpp does not know this vocabulary; it cuts text as "${pre.name}" does`);
  }
  const merges = vocabulary.model !== 'llama';
  const special = readSpecialTokens(folder, merges, merges ? undefined : size);
  if (hints?.spacePrefix === 'never') after.push(['tokenizer.ggml.add_space_prefix', bool(false)]);
  if (pieces) after.push(['tokenizer.ggml.add_bos_token', bool(true)]);
  if (size === hints?.startlessVocabulary) after.push(['tokenizer.ggml.add_bos_token', bool(false)]);
  return {
    metadata: [...before, ...vocabularyMetadata(vocabulary), ...specialMetadata(special), ...after],
    size: vocabulary.tokens.length,
    notes,
  };
}
