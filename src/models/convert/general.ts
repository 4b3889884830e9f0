import { parse } from 'yaml';
import type { JsonObject, JsonValue } from '../../base/json.js';
import { isList, isObject, textAt } from '../../base/jsonAccess.js';
import { f32, type GgufValue, i32, str, strings, u32 } from '../../formats/gguf/values.js';
import type { HfFolder } from './hfFolder.js';

/** What the name of a model says of it: "TinyLlama/TinyLlama-1.1B-Chat-v1.0". After gguf-py/gguf/metadata.py, get_model_id_components. */

interface ModelId {
  readonly fullName?: string;
  readonly organization?: string;
  readonly basename?: string;
  readonly finetune?: string;
  readonly version?: string;
  readonly sizeLabel?: string;
}

type Kind = 'basename' | 'size' | 'finetune' | 'version' | 'type';

interface Part {
  text: string;
  kinds: Set<Kind>;
}

const isDigit = (c: string | undefined): boolean => c !== undefined && /\d/.test(c);

/** A part that looks like a number of weights; a smaller number by far is a length of context. */
function readSize(part: Part, weights: number): void {
  let text = part.text.replaceAll('_', '.');
  // bloom-7b1
  if (isDigit(text.at(-1))) text = `${text.slice(0, -2)}.${text.at(-1)}${text.at(-2)}`;
  if (text.length > 1 && isDigit(text.at(-2)) && 'kmbt'.includes(text.at(-1)!)) {
    text = text.slice(0, -1) + text.at(-1)!.toUpperCase();
  }
  const number = text.slice(0, -1);
  if (weights > 0 && /^[+-]?(\d+\.?\d*|\.\d+)$/.test(number)) {
    const stated = Number(number) * 1000 ** ' KMBT'.indexOf(text.at(-1)!);
    if (Math.abs(stated - weights) > Math.floor((7 * weights) / 8)) {
      part.kinds.add('finetune');
      text = text.slice(0, -1) + text.at(-1)!.toLowerCase();
    }
  }
  if (part.kinds.size === 0) part.kinds.add('size');
  part.text = text;
}

function annotate(parts: Part[], weights: number): void {
  for (const [i, part] of parts.entries()) {
    if (/^(v|iter)?\d+([.]\d+)*$/i.test(part.text)) part.kinds.add('version');
    else if (/^(i?q\d(_\w)*|b?fp?(16|32))$/i.test(part.text)) {
      part.kinds.add('type');
      part.text = part.text.toUpperCase();
    } else if (i > 0 && /^(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)$/i.test(part.text)) {
      readSize(part, weights);
    } else if (i > 0 && /^(chat|instruct|vision|lora)$/i.test(part.text)) part.kinds.add('finetune');
  }
  const sizes = parts.filter(({ kinds }) => kinds.has('size'));
  if (sizes.some(({ text }) => /\d/.test(text))) {
    for (const { text, kinds } of sizes) if (/^\p{L}+$/u.test(text)) kinds.delete('size');
  }
  let atStart = true;
  for (const { text, kinds } of parts) {
    if (atStart && ((kinds.size === 0 && /^\p{L}/u.test(text)) || kinds.has('version'))) kinds.add('basename');
    else {
      atStart = false;
      if (kinds.size === 0) kinds.add('finetune');
    }
  }
  for (const { kinds } of [...parts].reverse()) {
    if (!kinds.has('basename') || kinds.size === 1) break;
    kinds.delete('basename');
  }
}

/** @param weights of the model; 0 where that is not known */
export function readModelId(id: string | undefined, weights: number): ModelId {
  if (id === undefined) return {};
  if (id.includes(' ')) return { fullName: id };
  const slash = id.indexOf('/');
  const owner = slash < 0 ? undefined : id.slice(0, slash);
  const fullName = id.slice(slash + 1);
  const parts: Part[] = fullName
    .split('-')
    .filter((text) => text !== '')
    .map((text) => ({ text, kinds: new Set() }));
  annotate(parts, weights);
  const joined = (keep: (kinds: Set<Kind>) => boolean) =>
    parts
      .filter(({ kinds }) => keep(kinds))
      .map(({ text }) => text)
      .join('-') || undefined;
  const sizeLabel = [...new Set(parts.filter(({ kinds }) => kinds.has('size')).map(({ text }) => text))].join('-');
  const found = {
    finetune: joined((kinds) => kinds.has('finetune')),
    version: joined((kinds) => kinds.has('version') && !kinds.has('basename')),
    sizeLabel: sizeLabel || undefined,
  };
  // With nothing else recognised, the base name is a guess.
  const sure = Object.values(found).some((value) => value !== undefined);
  return {
    fullName,
    organization: owner?.startsWith('.') ? undefined : owner,
    basename: sure ? joined((kinds) => kinds.has('basename')) : undefined,
    ...found,
  };
}

/** "tinyllama-chat" as "Tinyllama Chat"; acronyms and versions stay as they are. */
export function toTitle(text: string): string {
  const isLower = (word: string) => /\p{Ll}/u.test(word) && !/[\p{Lu}\p{Lt}]/u.test(word);
  return text
    .trim()
    .replaceAll('-', ' ')
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => {
      if (!isLower(word) || /^(v\d+(\.\d+)*|\d.*)$/.test(word)) return word;
      return word.replace(/\p{L}+/gu, (run) => run[0]!.toUpperCase() + run.slice(1).toLowerCase());
    })
    .join(' ');
}

/** Anchors may stand for each other this often; a model card has none. */
const MAX_ALIASES = 32;

/** Plain data as parsed JSON: objects as maps, what JSON does not have as text. */
function toJson(value: unknown): JsonValue {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [String(key), toJson(item)]));
  return String(value);
}

/**
 * The YAML between the two `---` at the head of a README.md, as the hub's model cards have it (metadata.py, load_model_card).
 * @returns undefined where there is none, or where it is not YAML
 */
export function readModelCard(text: string | undefined): JsonObject | undefined {
  const lines = (text ?? '').split(/\r\n|\r|\n/);
  if (lines[0] !== '---') return undefined;
  const end = lines.indexOf('---', 1);
  const yaml = `${lines.slice(1, end < 0 ? undefined : end).join('\n')}\n`
    // Norway, which YAML 1.1 reads as false; and tabs, which it does not allow.
    .replaceAll('- no\n', '- "no"\n')
    .replaceAll('\t', '  ');
  try {
    const value = toJson(
      parse(yaml, { version: '1.1', mapAsMap: true, maxAliasCount: MAX_ALIASES, logLevel: 'error' }),
    );
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Halfway cases to the even digit, as Python rounds; JavaScript takes the larger. */
function toFixedEven(value: number, digits: number): string {
  const scaled = value * 10 ** digits;
  const halfway = scaled - Math.floor(scaled) === 0.5;
  return halfway && Math.floor(scaled) % 2 === 0
    ? (Math.floor(scaled) / 10 ** digits).toFixed(digits)
    : value.toFixed(digits);
}

/** "135M", "1.1B": the number of weights, to two digits at least (gguf-py/gguf/utility.py, model_weight_count_rounded_notation). */
export function sizeLabel(weights: number): string {
  const [scale, unit] =
    weights > 1e12 ? [1e-12, 'T'] : weights > 1e9 ? [1e-9, 'B'] : weights > 1e6 ? [1e-6, 'M'] : [1e-3, 'K'];
  const scaled = weights * scale;
  const digits = toFixedEven(scaled, 0).replace(/^0+/, '').length;
  return `${toFixedEven(scaled, Math.max(2 - digits, 0))}${unit}`;
}

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

/** Fields in the order in which they are written, and what a model card calls them, first come first served (metadata.py, apply_metadata_heuristic). */
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

type Field = (typeof cardFields)[number][0];

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
    ...cardFields.flatMap(([field]): Entry[] => {
      const value = fields.get(field);
      return value ? [[`general.${field}`, str(value)]] : [];
    }),
    ...origins(card, ['base_model', 'base_models', 'base_model_sources'], 'base_model', weights),
    ...origins(card, ['datasets', 'dataset', 'dataset_sources'], 'dataset', weights),
    ...(tags.length > 0 ? [['general.tags', strings(tags)] as Entry] : []),
    ...(languages.length > 0 ? [['general.languages', strings(languages)] as Entry] : []),
  ];
}
