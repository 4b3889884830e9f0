import { bool, f32s, i32s, str, strings, u32 } from '../../gguf/buildValues.js';
import type { GgufValue } from '../../gguf/values.js';
import type { NamedTemplate, SpecialTokens } from './specialTokens.js';
import type { Vocabulary } from './Vocabulary.js';

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

export function vocabularyMetadata({ model, pre, tokens, scores, types }: Vocabulary): [string, GgufValue][] {
  return [
    ['tokenizer.ggml.model', str(model)],
    ['tokenizer.ggml.pre', str(pre)],
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
export function specialMetadata(special: SpecialTokens): [string, GgufValue][] {
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
