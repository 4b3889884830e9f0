import { f32, i32, str, strings, u32 } from '../../gguf/buildValues.js';
import type { GgufValue } from '../../gguf/values.js';
import type { JsonObject, JsonValue } from '../../util/parseJson.js';
import type { HfFolder } from '../HfFolder.js';
import { isList, isObject, textAt } from '../json.js';
import { readModelId, toTitle } from './modelId.js';
import { readModelCard } from './readModelCard.js';
import { sizeLabel } from './sizeLabel.js';

type Entry = [string, GgufValue];

/** generation_config.json to `general.sampling.*`, in the converter's order; integers or floats. */
const sampling = [
  ['top_k', ['top_k'], 'whole'],
  ['top_p', ['top_p'], 'real'],
  ['min_p', ['min_p'], 'real'],
  ['xtc_probability', ['xtc_probability'], 'real'],
  ['xtc_threshold', ['xtc_threshold'], 'real'],
  ['temp', ['temperature'], 'real'],
  ['penalty_last_n', ['penalty_last_n'], 'whole'],
  ['penalty_repeat', ['penalty_repeat', 'repetition_penalty'], 'real'],
  ['mirostat', ['mirostat'], 'whole'],
  ['mirostat_tau', ['mirostat_tau'], 'real'],
  ['mirostat_eta', ['mirostat_eta'], 'real'],
] as const;

function samplingMetadata(config: JsonObject | undefined): Entry[] {
  const out: Entry[] = [];
  const sequence = textAt(config, 'sequence');
  if (sequence) out.push(['general.sampling.sequence', str(sequence)]);
  for (const [name, keys, kind] of sampling) {
    const value = config?.get(keys.find((key) => config.has(key)) ?? '');
    if (typeof value !== 'number' || !Number.isFinite(value)) continue;
    if (kind === 'whole' && (!Number.isInteger(value) || Math.abs(value) > 2 ** 31 - 1)) continue;
    out.push([`general.sampling.${name}`, kind === 'whole' ? i32(value) : f32(value)]);
  }
  return out;
}

/** Fields of a model card, first come first served (metadata.py, apply_metadata_heuristic). */
const cardFields = [
  ['name', ['name', 'model_name']],
  ['author', ['author', 'model_author', 'model_creator']],
  ['version', ['version', 'model_version']],
  ['organization', ['organization', 'model_organization']],
  ['finetune', ['finetune', 'model_finetune']],
  ['basename', ['basename', 'model_basename', 'model_type']],
  ['description', ['description', 'model_description']],
  ['size_label', ['size_label', 'model_size_label']],
  ['license', ['license']],
  ['license.name', ['license_name']],
  ['license.link', ['license_link']],
  ['source.url', ['url', 'model_url']],
  ['source.doi', ['doi', 'model_doi']],
  ['source.uuid', ['uuid', 'model_uuid']],
  ['source.repo_url', ['repo_url', 'model_repo_url']],
] as const;

/** The order in which the fields are written. */
const written = [
  'name',
  'author',
  'version',
  'organization',
  'finetune',
  'basename',
  'description',
  'size_label',
  'license',
  'license.name',
  'license.link',
  'source.url',
  'source.doi',
  'source.uuid',
  'source.repo_url',
] as const;

type Field = (typeof written)[number];

const texts = (value: JsonValue | undefined): string[] =>
  typeof value === 'string'
    ? [value]
    : isList(value)
      ? value.filter((item) => typeof item === 'string' || typeof item === 'number').map(String)
      : [];

/** The models it was made from, or the data it was trained with, each with what its name says. */
function origins(card: JsonObject, keys: readonly string[], prefix: string, weights: number): Entry[] {
  const key = keys.find((key) => card.has(key));
  if (key === undefined) return [];
  const value = card.get(key);
  const items = isList(value) ? value : value === null || value === undefined ? [] : [value];
  const out: Entry[] = [[`general.${prefix}.count`, u32(items.length)]];
  for (const [i, item] of items.entries()) {
    const add = (name: string, text: string | undefined) => {
      if (text) out.push([`general.${prefix}.${i}.${name}`, str(text)]);
    };
    if (isObject(item)) {
      const names = ['name', 'author', 'version', 'organization', 'description', 'url', 'doi', 'uuid', 'repo_url'];
      for (const name of names) add(name, textAt(item, name));
      continue;
    }
    if (typeof item !== 'string') continue;
    const isUrl = /^(https?|ssh):\/\//.test(item);
    const id = isUrl ? /^https?:\/\/huggingface\.co\/([^/]+\/[^/]+)$/.exec(item)?.[1] : item;
    const { fullName, organization, version } = readModelId(id, weights);
    add('name', fullName && toTitle(fullName));
    add('version', version);
    add('organization', organization && toTitle(organization));
    add('repo_url', isUrl ? item : organization && fullName && `https://huggingface.co/${organization}/${fullName}`);
  }
  return out;
}

/**
 * `general.*`: name, licence and origin, out of the model card, the name in config.json and that of the folder, as llama.cpp's converter
 * finds them (gguf-py/gguf/metadata.py).
 * @param weights number of them in the model
 */
export function generalMetadata(folder: HfFolder, weights: number): Entry[] {
  const card: JsonObject = readModelCard(folder.modelCard) ?? new Map();
  const fields = new Map<Field, string>();
  const put = (field: Field, value: string | undefined) => {
    if (value !== undefined && !fields.has(field)) fields.set(field, value);
  };
  for (const [field, keys] of cardFields) {
    const value = card.get(keys.find((key) => (card.get(key) ?? null) !== null) ?? '');
    if (field === 'license' && isList(value)) put(field, texts(value).join(','));
    else if (typeof value === 'string') put(field, value);
  }
  const stated = textAt(folder.config, '_name_or_path');
  const names = [stated !== undefined && stated.split('/').length <= 2 ? stated : undefined, folder.name];
  for (const name of names) {
    const id = readModelId(name, weights);
    put('name', id.fullName && toTitle(id.fullName));
    put('organization', id.organization && toTitle(id.organization));
    put('basename', id.basename);
    put('finetune', id.finetune);
    put('version', id.version);
    put('size_label', id.sizeLabel);
  }
  put('name', folder.name);
  put('size_label', sizeLabel(weights));
  const tags = [...texts(card.get('tags')), ...texts(card.get('pipeline_tag'))];
  const languages = [...texts(card.get('languages')), ...texts(card.get('language'))];
  return [
    ...samplingMetadata(folder.generationConfig),
    ...written.flatMap((field): Entry[] => {
      const value = fields.get(field);
      return value ? [[`general.${field}`, str(value)]] : [];
    }),
    ...origins(card, ['base_model', 'base_models', 'base_model_sources'], 'base_model', weights),
    ...origins(card, ['datasets', 'dataset', 'dataset_sources'], 'dataset', weights),
    ...(tags.length > 0 ? [['general.tags', strings(tags)] as Entry] : []),
    ...(languages.length > 0 ? [['general.languages', strings(languages)] as Entry] : []),
  ];
}
