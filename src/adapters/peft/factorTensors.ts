import { quote, UnsupportedError } from '../../base/errors.js';
import { listFirst } from '../../base/format.js';
import { type Family, linearRowsAt } from '../../families/family.js';
import { describeArray, toFloat32 } from '../../formats/arrays.js';
import type { StoredTensor, TensorSource } from '../../formats/safetensors.js';
import { transposed } from '../../model/factors.js';
import type { LoraBase } from '../base.js';
import { type LoraModule, maxRank, requireUsable, throwProblems } from '../lora.js';
import { type FactorName, fullName, moduleShape, modulesOf, settingNames, toGguf } from './names.js';

/** The factors in a safetensors file, found by their names, held against the base, and brought into the order of GGUF. */

/** How a tool names and lays out factors. */
export interface FactorLayout {
  readonly parse: (family: Family, name: string) => FactorName | undefined;
  /** What the tool's settings give a module. @param names that it may have there */
  readonly settings: (names: readonly string[]) => { rank: number; alpha: number };
  /** A is stored as [inputs, rank], B as [rank, outputs]. */
  readonly transposed?: boolean;
}

interface Found {
  layer: number;
  module: string;
  /** What settings may call it. */
  names: readonly string[];
  A?: string;
  B?: string;
}

/** What a tensor belongs to that a LoRA GGUF of Loam cannot hold; undefined for all else. */
function beyond(name: string): string | undefined {
  if (/(^|\.)(lm_head|embed_out|output)\./.test(name)) return 'corrects the output head, which Loam does not adapt';
  if (/embed_tokens|wte\b|lora_embedding/.test(name)) return 'corrects the embeddings, which Loam does not adapt';
  if (/magnitude_vector|\.m$/.test(name)) return 'belongs to DoRA';
  if (/(^|\.)(vision|visual|image|audio|multi_modal|mm_)/.test(name))
    return 'corrects the part that sees or hears, which Loam does not run';
  if (/\.(experts|switch_mlp|router|shared_expert)\b/.test(name)) return 'corrects experts, which Loam does not run';
  if (/\.lora_[AB](\.[\w-]+)?\.bias$/.test(name)) return 'is a bias of a factor';
  if (/\.(weight|bias)$/.test(name) && !/lora/i.test(name)) return 'is a whole tensor, saved beside the factors';
  return undefined;
}

/** Whether a name ends as a factor's does. */
const isFactor = (name: string) => /\.lora_[ABab](\.[\w-]+)*$/.test(name);

/** @throws UnsupportedError for several adapters in one file */
function requireOne(path: string, adapters: ReadonlySet<string>): void {
  if (adapters.size < 2) return;
  const names = [...adapters];
  throw new UnsupportedError({
    found: `${names.length} adapters in one file: ${listFirst(names.map(quote), 5, ', ')}`,
    expected: 'one',
    where: path,
    fix: `save one of them alone, in PEFT with save_pretrained(FOLDER, selected_adapters=[${quote(names[0]!)}])`,
  });
}

/**
 * The modules of an adapter, in f32 (f16 and bf16 are widened exactly), rows of B in the order of the GGUF model.
 * @throws UnsupportedError for what is more than LoRA on linears; LoamError that lists every mismatch with the base
 */
export async function readFactors(source: TensorSource, base: LoraBase, layout: FactorLayout): Promise<LoraModule[]> {
  const { problems, found, adapters, isBeyond } = collect(source.tensors, base, layout);
  requireOne(source.path, adapters);
  for (const [key, pair] of found) checkPair(source.tensors, { key, pair }, base, layout, problems);
  if (found.size === 0 && problems.length === 0) problems.push('it holds no lora_A and lora_B tensors');
  throwProblems(source.path, problems, isBeyond);

  const names = modulesOf(base.family);
  const order = (pair: Found) => pair.layer * names.length + names.indexOf(pair.module);
  const modules: LoraModule[] = [];
  const read = async (name: string) => {
    const array = await source.read(name);
    const values = toFloat32(array);
    return layout.transposed ? transposed(values, array.shape[0]!, array.shape[1]!) : values;
  };
  for (const pair of [...found.values()].sort((x, y) => order(x) - order(y))) {
    const { layer, module } = pair;
    const [inputs, outputs] = moduleShape(base, pair);
    const [a, b] = [await read(pair.A!), await read(pair.B!)];
    const { rank, alpha } = layout.settings(pair.names);
    modules.push(...toGguf(base, { layer, module, factors: { inputs, outputs, rank, a, b }, alpha }));
  }
  requireUsable(source.path, modules);
  return modules;
}

function collect(tensors: ReadonlyMap<string, StoredTensor>, base: LoraBase, { parse }: FactorLayout) {
  const problems: string[] = [];
  const found = new Map<string, Found>();
  const adapters = new Set<string>();
  let isBeyond = false;
  for (const [name, tensor] of tensors) {
    const parsed = parse(base.family, name);
    const isThere =
      parsed &&
      parsed.layer < base.layers &&
      linearRowsAt(base, parsed.layer).some((row) => row.module === parsed.module);
    if (!isThere) {
      const more = parsed ? undefined : beyond(name);
      isBeyond ||= more !== undefined;
      problems.push(`${quote(name)} ${more ?? (isFactor(name) ? unknown(base, parsed) : 'is no factor of a LoRA')}`);
      continue;
    }
    if (parsed.adapter !== undefined) adapters.add(parsed.adapter);
    if (!['f32', 'f16', 'bf16'].includes(tensor.dtype)) problems.push(`${quote(name)} is stored as ${tensor.dtype}`);
    const { layer, module, part } = parsed;
    const key = fullName(parsed);
    const pair = found.get(key) ?? { layer, module, names: settingNames(parsed.path, parsed) };
    found.set(key, pair);
    if (pair[part] !== undefined) problems.push(`${key} has two lora_${part}`);
    pair[part] = name;
  }
  return { problems, found, adapters, isBeyond };
}

const unknown = ({ layers }: LoraBase, parsed: FactorName | undefined): string =>
  parsed && parsed.layer >= layers
    ? `corrects layer ${parsed.layer} of a base model that has ${layers} layers`
    : 'corrects nothing that the base model has and Loam adapts';

function checkPair(
  tensors: ReadonlyMap<string, StoredTensor>,
  { key, pair }: { key: string; pair: Found },
  base: LoraBase,
  { settings, transposed: swapped }: FactorLayout,
  problems: string[],
): void {
  if (pair.A === undefined || pair.B === undefined) {
    problems.push(`${key} has no lora_${pair.A === undefined ? 'A' : 'B'}`);
    return;
  }
  const [a, b] = [tensors.get(pair.A)!, tensors.get(pair.B)!];
  const [inputs, outputs] = moduleShape(base, pair);
  const { rank } = settings(pair.names);
  if (rank > maxRank) problems.push(`${key} has rank ${rank}, expected at most ${maxRank}`);
  for (const [part, stored, rows, columns] of [
    ['A', a, rank, inputs],
    ['B', b, outputs, rank],
  ] as const) {
    const expected = swapped ? [columns, rows] : [rows, columns];
    if (stored.shape.join() === expected.join()) continue;
    problems.push(`lora_${part} of ${key} is ${describeArray(stored)}, expected [${expected.join(', ')}]`);
  }
}
