import { join } from 'node:path';
import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import type { JsonObject } from '../../base/json.js';
import { readJsonObject } from '../../base/jsonAccess.js';
import { type Family, type LayerLinear, linearRow, linearRows } from '../../families/family.js';
import { HfConfig, readSizes } from '../../families/huggingFace.js';
import { layouts } from '../../families/index.js';
import type { Factors } from '../../model/factors.js';
import type { LoraBase } from '../base.js';

/** The names and the order of rows that adapters have in PEFT, and the base as its Hugging Face folder describes it. */

interface PeftTensor {
  layer: number;
  module: LayerLinear;
  part: 'A' | 'B';
}

/** A module as the model of transformers calls it: `model.layers.0.self_attn.q_proj`. */
export function moduleName(family: Family, layer: number, linear: LayerLinear): string {
  return `model.layers.${layer}.${linearRow(family, linear).module}`;
}

/** A factor as PEFT saves it (get_peft_model_state_dict). */
export function tensorName(family: Family, layer: number, module: LayerLinear, part: 'A' | 'B'): string {
  return `base_model.model.${moduleName(family, layer, module)}.lora_${part}.weight`;
}

/**
 * What a tensor's name says, or undefined. Also as PEFT has it in memory (with the adapter's name, `lora_A.default.weight`), and where the
 * text model is a part of a larger one, with images.
 */
export function parseTensorName(family: Family, name: string): PeftTensor | undefined {
  const match =
    /^(?:base_model\.model\.)?(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d{1,5})\.([\w.]+)\.lora_([AB])(?:\.default)?\.weight$/.exec(
      name,
    );
  const row = match && linearRows(family).find(({ module }) => module === match[2]);
  return row ? { layer: Number(match[1]), module: row.name, part: match[3] as 'A' | 'B' } : undefined;
}

/** Where row `i` of a projection that is interleaved in GGUF (`LinearRow`) stands there. */
function ggufRow(i: number, headDim: number): number {
  const half = headDim / 2;
  const within = i % headDim;
  return i - within + 2 * (within % half) + Math.floor(within / half);
}

/** Rows of `width` values each, from Hugging Face's order into that of GGUF, or back. A fresh array where anything changes. */
export function permuteRows<T extends Float32Array>(
  rows: T,
  width: number,
  base: LoraBase,
  module: LayerLinear,
  direction: 'toGguf' | 'toHf',
): T {
  if (!linearRow(base.family, module).interleaved) return rows;
  const count = rows.length / width;
  const out = rows.slice() as T;
  for (let i = 0; i < count; i++) {
    const at = ggufRow(i, base.headDim);
    const [from, to] = direction === 'toGguf' ? [i, at] : [at, i];
    out.set(rows.subarray(from * width, (from + 1) * width), to * width);
  }
  return out;
}

/** The same for a low-rank correction: only B has the outputs as rows. */
export function permuteFactors(
  factors: Factors,
  base: LoraBase,
  module: LayerLinear,
  direction: 'toGguf' | 'toHf',
): Factors {
  return { ...factors, b: permuteRows(factors.b, factors.rank, base, module, direction) };
}

/** Configurations take a few kB; a vocabulary of classes makes some a few MB. */
const maxConfigBytes = 16 * 1024 * 1024;

/** Reads a JSON object out of a file of Hugging Face's. @throws LoamError */
export async function readJsonFile(path: string): Promise<JsonObject> {
  return await readJsonObject(path, maxConfigBytes, { bigIntegers: 'round' });
}

/**
 * A base known from the config.json of its Hugging Face folder.
 * @throws UnsupportedError for a family that Loam does not know, LoamError for sizes that are none
 */
export async function hfBase(folder: string): Promise<LoraBase> {
  const path = join(folder, 'config.json');
  const config = await readJsonFile(path);
  const type = config.get('model_type');
  const family = layouts.find(({ huggingFace }) => huggingFace.modelTypes.some((name) => name === type));
  if (!family) {
    throw new UnsupportedError({
      found: `a model of the type ${typeof type === 'string' ? quote(type) : 'that config.json does not name'}`,
      expected: `one of ${layouts.flatMap(({ huggingFace }) => huggingFace.modelTypes).join(', ')}`,
      where: path,
    });
  }
  const problems: string[] = [];
  const sizes = readSizes(new HfConfig(config, { add: (problem) => problems.push(problem) }), family);
  if (problems.length > 0) throw new LoamError({ code: 'invalid-data', found: problems.join('; '), where: path });
  return { path, family, ...sizes };
}
