import { count } from '../../base/format.js';
import { type LinearRow, linearRows, linearRowsAt } from '../../families/family.js';
import type { HfConfig, HfSettings } from '../../families/huggingFace.js';
import { layouts } from '../../families/index.js';
import type { StoredTensor, TensorSource } from '../../formats/safetensors.js';
import type { Problems } from './convertModel.js';

/**
 * Where config.json contradicts itself or the tensors beside it: transformers would follow the one and llama.cpp the other, or neither
 * would notice that something is missing.
 */

/** Contradictions within config.json, which go to its problems. @param model its model_type */
export function checkAgreement(
  config: HfConfig,
  { family, layers, context }: HfSettings,
  model: string | undefined,
): void {
  const other = layouts.find(
    ({ name, huggingFace }) => name !== family.name && huggingFace.modelTypes.some((type) => type === model),
  );
  if (other) config.problem(`a class of ${family.title} under architectures, and the model_type of ${other.title}`);
  const [older, newer] = [config.object('rope_scaling'), config.object('rope_parameters')];
  for (const key of ['rope_type', 'type', 'factor', 'rope_theta', 'original_max_position_embeddings']) {
    if (older?.has(key) && newer?.has(key) && older.raw(key) !== newer.raw(key)) {
      config.problem(`rope_scaling and rope_parameters do not say the same of ${key}`);
    }
  }
  const rope = older ?? newer;
  if (rope?.has('type') && rope.has('rope_type') && rope.raw('type') !== rope.raw('rope_type')) {
    config.problem('rope scaling has a type and another rope_type');
  }
  if (rope?.has('factor') && !rope.has('rope_type') && !rope.has('type')) {
    config.problem('rope scaling has a factor and no rope_type');
  }
  const { unfollowedWindows } = family.huggingFace;
  if (unfollowedWindows && hasWindows(config, unfollowedWindows, layers, context)) {
    config.problem(
      `layers with a sliding window shorter than the context, and llama.cpp computes ${family.title} without`,
    );
  }
}

/** transformers' default of max_window_layers. */
const usualFullLayers = 28;

/** Whether transformers has a layer see less than everything. */
function hasWindows(config: HfConfig, how: 'switched' | 'stated', layers: number, context: number): boolean {
  const window = config.raw('sliding_window');
  if (typeof window !== 'number' || window >= context) return false;
  if (how === 'stated') return true;
  if (!config.flag('use_sliding_window', false)) return false;
  const types = config.raw('layer_types');
  if (Array.isArray(types)) return types.includes('sliding_attention');
  return Number(config.raw('max_window_layers') ?? usualFullLayers) < layers;
}

/** Biases that some layers have and others lack, or that config.json says not to be, or to be, there. */
export function checkBiases(
  tensors: ReadonlyMap<string, StoredTensor>,
  settings: HfSettings,
  problems: Problems,
): void {
  const names = new Set([...tensors.keys()].map((name) => name.replace('language_model.', '')));
  const rows = linearRows(settings.family).filter(({ bias }) => bias);
  const found = new Set<LinearRow>();
  for (const row of rows) {
    const all = [...Array(settings.layers).keys()].filter((layer) => linearRowsAt(settings, layer).includes(row));
    const there = all.filter((layer) => names.has(`model.layers.${layer}.${row.module}.bias`));
    if (there.length > 0) found.add(row);
    if (there.length > 0 && there.length < all.length) {
      problems.add(`${row.module} has a bias in ${count(there.length)} of ${count(all.length)} layers`);
    }
  }
  for (const [part, stated] of Object.entries(settings.biases)) {
    const own = rows.filter(({ name, bias }) => bias === 'possible' && name.startsWith('ffn') === (part === 'mlp'));
    if (stated === undefined || own.length === 0 || own.some((row) => found.has(row)) === stated) continue;
    problems.add(`${stated ? 'no biases' : 'biases'} of ${part}, and ${part}_bias is ${stated}`);
  }
}

/**
 * Whether the output head is a matrix of its own though config.json says that it is the table of embeddings. llama.cpp and transformers
 * from version 5 on compute with the head then, transformers 4 with the embeddings.
 */
export async function hasHeadOfItsOwn(source: TensorSource, { tied }: HfSettings): Promise<boolean> {
  const named = (plain: string) =>
    [...source.tensors.keys()].find((name) => name.replace('language_model.', '') === plain);
  const [head, table] = [named('lm_head.weight'), named('model.embed_tokens.weight')];
  if (!tied || head === undefined || table === undefined) return false;
  const [a, b] = [source.tensors.get(head)!, source.tensors.get(table)!];
  if (a.dtype !== b.dtype || a.bytes !== b.bytes) return true;
  for (let from = 0; from < a.bytes; from += PIECE) {
    const bytes = Math.min(PIECE, a.bytes - from);
    const [one, other] = [await source.readPart(head, from, bytes), await source.readPart(table, from, bytes)];
    if (Buffer.compare(one, other) !== 0) return true;
  }
  return false;
}

/** Bytes that are compared at once. */
const PIECE = 4 << 20;
