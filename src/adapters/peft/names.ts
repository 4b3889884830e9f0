import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import type { JsonObject } from '../../base/json.js';
import { readJsonObject } from '../../base/jsonAccess.js';
import { placeInFolder, tilesOf } from '../../families/deltaHeads.js';
import {
  type Family,
  type LayerLinear,
  type LinearRow,
  linearRow,
  linearRows,
  rowShape,
  sizesAt,
} from '../../families/family.js';
import { HfConfig, readSizes } from '../../families/huggingFace.js';
import { layouts } from '../../families/index.js';
import { type Factors, sumFactors } from '../../model/factors.js';
import { noConfig } from '../../models/convert/hfFolder.js';
import { snapped } from '../alpha.js';
import type { LoraBase } from '../base.js';
import type { LoraModule } from '../lora.js';

/**
 * Modules as transformers and PEFT know them, where their rows may stand in another order than in GGUF, and one module may hold two
 * linears of GGUF below one another; and the base as its Hugging Face folder describes it.
 */

/** The correction of one module of transformers' model, in its own order of rows. */
export interface HfModule {
  readonly layer: number;
  /** `self_attn.q_proj` */
  readonly module: string;
  readonly factors: Factors;
  readonly alpha: number;
}

/** What holds the layers in transformers: in a model of texts, and in one that also sees (as of transformers 4.52). */
export const textHolder = 'model';
const seeingHolder = 'model.language_model';

/** A module as the whole model calls it: `model.layers.0.self_attn.q_proj`. @param holder of the layers */
export const fullName = ({ layer, module }: Pick<HfModule, 'layer' | 'module'>, holder = textHolder): string =>
  `${holder}.layers.${layer}.${module}`;

/** A factor as PEFT saves it (get_peft_model_state_dict). @param name of the module */
export const tensorName = (name: string, part: 'A' | 'B'): string => `base_model.model.${name}.lora_${part}.weight`;

/**
 * What holds the layers of a base in its published class: as its folder says; else as in the model on which PEFT made the adapter; else as
 * in most models of the family.
 * @param made `holderOf` a module of the adapter, where PEFT made it
 */
export function holderIn(base: LoraBase, made?: string): string {
  const sees =
    base.sees ?? made?.split('.').includes('language_model') ?? base.family.huggingFace.sees?.(base) ?? false;
  return sees ? seeingHolder : textHolder;
}

/** What holds the layer of a module. @param path of a tensor, up to the factor */
export const holderOf = (path: string): string => ownName(path).replace(/\.?layers\..*$/, '');

/** What stands around a model's own names: torch puts it there for one that is compiled, distributed or checkpointed. */
const wrappers =
  /(?<=^|\.)(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)\.)+/g;
/**
 * What a module may be called in settings: as it was while PEFT put the factors there, in whatever model stood around it, and in the
 * text model.
 * @param path of a tensor, up to the factor
 */
export function settingNames(path: string, place: Pick<HfModule, 'layer' | 'module'>): string[] {
  return [inPeft(path), ownName(path), fullName(place)];
}

const inPeft = (path: string) => path.replace(/^.*?\bbase_model\.model\./, '');
const ownName = (path: string) => inPeft(path).replace(wrappers, '');

/** The model around the text model: PEFT's, and those that also see. */
const outer = /^(?:(?:base_model|model|language_model|text_model)\.)*layers\.(\d{1,5})\.([\w.]+)$/;

/** The module of a layer that a name says, whatever stands around it; undefined for any other name. */
export function parseModuleName(family: Family, name: string): { layer: number; module: string } | undefined {
  const match = outer.exec(name.replace(wrappers, ''));
  if (!match || !modulesOf(family).includes(match[2]!)) return undefined;
  return { layer: Number(match[1]), module: match[2]! };
}

/** What a tensor's name in PEFT says, also as PEFT has it in memory (with the adapter's name, `lora_A.default.weight`), or undefined. */
export function parseTensorName(family: Family, name: string): FactorName | undefined {
  const match = /^(.+)\.lora_([AB])(?:(?:\.([\w-]+))?\.weight)?$/.exec(name);
  const place = match && parseModuleName(family, match[1]!);
  if (!place) return undefined;
  const adapter = match[3] !== undefined && { adapter: match[3] };
  return { ...place, path: match[1]!, part: match[2] as 'A' | 'B', ...adapter };
}

/** The same in MLX: `model.layers.0.self_attn.q_proj.lora_a`. */
export function parseMlxName(family: Family, name: string): FactorName | undefined {
  const match = /^(.+)\.lora_([ab])$/.exec(name);
  const place = match && parseModuleName(family, match[1]!);
  return place ? { ...place, path: match![1]!, part: match![2] === 'a' ? 'A' : 'B' } : undefined;
}

/** What a tensor's name says. `adapter`: under which name its factors are kept, where several could be. */
export interface FactorName {
  readonly layer: number;
  readonly module: string;
  /** Of the module, as the file has it. */
  readonly path: string;
  readonly part: 'A' | 'B';
  readonly adapter?: string;
}

/** The modules of a layer, in the order data flows through them. */
export const modulesOf = (family: Family): string[] => [...new Set(linearRows(family).map(({ module }) => module))];

const rowsIn = ({ family }: LoraBase, module: string): LinearRow[] =>
  linearRows(family).filter((row) => row.module === module);

/** [inputs, outputs] of a module. */
export function moduleShape(base: LoraBase, { layer, module }: Pick<HfModule, 'layer' | 'module'>): [number, number] {
  const shapes = rowsIn(base, module).map((row) => rowShape(sizesAt(base, layer), row));
  return [shapes[0]![0], shapes.reduce((sum, [, outputs]) => sum + outputs, 0)];
}

/** The linears of GGUF that a module holds, each with its part of the correction. */
export function toGguf(base: LoraBase, { layer, module, factors, alpha }: HfModule): LoraModule[] {
  const { inputs, rank, a, b } = factors;
  let from = 0;
  return rowsIn(base, module).map((row) => {
    const [, outputs] = rowShape(sizesAt(base, layer), row);
    const part = b.subarray(from * rank, (from + outputs) * rank);
    from += outputs;
    const rows = permuteRows(part, rank, base, row.name, 'toGguf');
    const columns = permuteColumns(a, base, row.name, 'toGguf');
    return { layer, module: row.name, factors: { inputs, outputs, rank, a: columns, b: rows }, alpha };
  });
}

/** The way back, layer by layer. */
export function toHf(base: LoraBase, modules: readonly LoraModule[]): HfModule[] {
  const found = new Map<string, HfModule>();
  for (const { layer, module: linear } of modules) {
    const { module } = linearRow(base.family, linear);
    const name = fullName({ layer, module });
    if (found.has(name)) continue;
    const parts = rowsIn(base, module).map((row) => {
      const known = modules.find((other) => other.layer === layer && other.module === row.name);
      const outputs = rowShape(sizesAt(base, layer), row)[1];
      if (!known) return { outputs };
      const b = permuteRows(known.factors.b, known.factors.rank, base, row.name, 'toHf');
      const a = permuteColumns(known.factors.a, base, row.name, 'toHf');
      return { outputs, known: { ...known, factors: { ...known.factors, a, b } } };
    });
    const { factors, alpha } = parts.length === 1 ? parts[0]!.known! : joined(parts);
    found.set(name, { layer, module, factors, alpha });
  }
  return [...found.values()];
}

/**
 * Corrections of linears that lie below one another in one module, as one. Those that share A, as the parts of one module of PEFT's do,
 * keep it; others stand side by side, each with ranks of its own.
 */
function joined(parts: readonly { outputs: number; known?: LoraModule }[]): Pick<HfModule, 'factors' | 'alpha'> {
  const outputs = parts.reduce((sum, part) => sum + part.outputs, 0);
  /** B below and above rows of zeros, or of another that has the same A. */
  const place = (b: Float32Array, { factors }: LoraModule, from: number) => {
    b.set(factors.b, from * factors.rank);
    return b;
  };
  let row = 0;
  const given = parts.flatMap((part) => {
    const from = row;
    row += part.outputs;
    return part.known ? { known: part.known, from } : [];
  });
  const { factors: first, alpha } = given[0]!.known;
  if (given.every(({ known }) => known.alpha === alpha && bytesOf(known.factors.a).equals(bytesOf(first.a)))) {
    const b = new Float32Array(outputs * first.rank);
    for (const { known, from } of given) place(b, known, from);
    return { factors: { ...first, outputs, b }, alpha };
  }
  const scale = alpha / first.rank;
  const factors = sumFactors(
    given.map(({ known, from }) => ({
      factors: { ...known.factors, outputs, b: place(new Float32Array(outputs * known.factors.rank), known, from) },
      weight: snapped(known.alpha / known.factors.rank / scale),
    })),
  );
  return { factors, alpha: scale * factors.rank };
}

const bytesOf = (x: Float32Array) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);

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
  const row = linearRow(base.family, module);
  const tiles = row.tiled === 'outputs' ? tilesOf(base, row) : undefined;
  if (!row.interleaved && !tiles) return rows;
  const count = rows.length / width;
  const out = rows.slice() as T;
  for (let i = 0; i < count; i++) {
    const [hf, gguf] = tiles ? [placeInFolder(tiles, i), i] : [i, ggufRow(i, base.headDim)];
    const [from, to] = direction === 'toGguf' ? [hf, gguf] : [gguf, hf];
    out.set(rows.subarray(from * width, (from + 1) * width), to * width);
  }
  return out;
}

/** The same of A, whose rows have a value for each of the linear's inputs. */
function permuteColumns(a: Float32Array, base: LoraBase, module: LayerLinear, direction: 'toGguf' | 'toHf') {
  const row = linearRow(base.family, module);
  const tiles = row.tiled === 'inputs' ? tilesOf(base, row) : undefined;
  if (!tiles) return a;
  const [width] = rowShape(base, row);
  const out = new Float32Array(a.length);
  for (let start = 0; start < a.length; start += width) {
    for (let i = 0; i < width; i++) {
      const hf = placeInFolder(tiles, i);
      const [from, to] = direction === 'toGguf' ? [hf, i] : [i, hf];
      out[start + to] = a[start + from]!;
    }
  }
  return out;
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
  if (!(await stat(path).catch(() => undefined))) throw await noConfig(folder);
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
  const classes = config.get('architectures');
  const sees = Array.isArray(classes) && classes.some((name) => String(name).endsWith('ForConditionalGeneration'));
  return { path, family, ...sizes, ...(Array.isArray(classes) && { sees }) };
}
