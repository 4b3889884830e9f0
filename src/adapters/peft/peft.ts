import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, quote } from '../../base/errors.js';
import { writeFileAtomic } from '../../base/io.js';
import type { JsonValue } from '../../base/json.js';
import { linearRow } from '../../families/family.js';
import { describeArray, fromFloat32, toFloat32 } from '../../formats/arrays.js';
import { type StoredTensor, type TensorSource, writeSafetensors } from '../../formats/safetensors.js';
import { openSafetensorsFolder } from '../../formats/safetensorsFolder.js';
import { scaled, snapped, unpadded } from '../alpha.js';
import type { LoraBase } from '../base.js';
import { type Lora, type LoraModule, maxRank, requireUsable, throwProblems } from '../lora.js';
import {
  decodeNotes,
  encodeNotes,
  jsonText,
  moduleSettings,
  type PeftConfig,
  peftSettingsNote,
  peftSettingsOf,
  readPeftConfig,
} from './config.js';
import {
  fullName,
  type HfModule,
  moduleShape,
  modulesOf,
  parseTensorName,
  readJsonFile,
  tensorName,
  toGguf,
  toHf,
} from './names.js';

interface Found {
  layer: number;
  module: string;
  a?: string;
  b?: string;
}

/**
 * Reads an adapter of PEFT: `adapter_config.json` and `adapter_model.safetensors`, in f32, f16 or bf16 (widened exactly). Rows of B come
 * in the order of the GGUF model. Ranks and alphas may differ between modules, and the scale may be that of rsLoRA.
 * @throws UnsupportedError that names what Loam lacks for this adapter; LoamError that lists every mismatch with the base
 */
export async function readPeft(folder: string, base: LoraBase): Promise<Lora> {
  const configPath = join(folder, 'adapter_config.json');
  const config = readPeftConfig(await readJsonFile(configPath), configPath);
  await using source = await openSafetensorsFolder(folder, 'adapter_model');
  const modules = await readModules(source, config, base);
  const notes = decodeNotes(source.metadata.get('loam'));
  notes.set(...peftSettingsNote(config));
  return { path: folder, architecture: base.family.name, modules, notes };
}

/** What a tensor belongs to that a LoRA GGUF of Loam cannot hold; undefined for all else. */
function beyond(name: string): string | undefined {
  if (/(^|\.)(lm_head|output)\./.test(name)) return 'corrects the output head, which Loam does not adapt';
  if (/embed_tokens|wte\b|lora_embedding/.test(name)) return 'corrects the embeddings, which Loam does not adapt';
  return /magnitude_vector/.test(name) ? 'belongs to DoRA' : undefined;
}

async function readModules(source: TensorSource, config: PeftConfig, base: LoraBase): Promise<LoraModule[]> {
  const problems: string[] = [];
  let isBeyond = false;
  const found = new Map<string, Found>();
  for (const [name, tensor] of source.tensors) {
    const parsed = parseTensorName(base.family, name);
    if (!parsed || parsed.layer >= base.layers) {
      const more = beyond(name);
      isBeyond ||= more !== undefined;
      const nothing = /\.lora_[AB]\b/.test(name)
        ? 'corrects nothing that the base model has and Loam adapts'
        : 'is no factor of a LoRA';
      problems.push(`${quote(name)} ${more ?? nothing}`);
      continue;
    }
    if (!['f32', 'f16', 'bf16'].includes(tensor.dtype)) problems.push(`${quote(name)} is stored as ${tensor.dtype}`);
    const { layer, module, part } = parsed;
    const key = fullName(parsed);
    const pair = found.get(key) ?? { layer, module };
    found.set(key, pair);
    const side = part === 'A' ? 'a' : 'b';
    if (pair[side] !== undefined) problems.push(`${key} has two lora_${part}`);
    pair[side] = name;
  }
  for (const [key, pair] of found) checkPair(source.tensors, key, pair, config, base, problems);
  if (found.size === 0 && problems.length === 0) problems.push('it holds no lora_A and lora_B tensors');
  throwProblems(source.path, problems, isBeyond);

  const names = modulesOf(base.family);
  const order = (pair: Found) => pair.layer * names.length + names.indexOf(pair.module);
  const modules: LoraModule[] = [];
  for (const pair of [...found.values()].sort((x, y) => order(x) - order(y))) {
    const { layer, module } = pair;
    const [inputs, outputs] = moduleShape(base, module);
    const a = toFloat32(await source.read(pair.a!));
    const b = toFloat32(await source.read(pair.b!));
    const { rank, alpha } = moduleSettings(config, fullName(pair));
    modules.push(...toGguf(base, { layer, module, factors: { inputs, outputs, rank, a, b }, alpha }));
  }
  requireUsable(source.path, modules);
  return modules;
}

function checkPair(
  tensors: ReadonlyMap<string, StoredTensor>,
  key: string,
  pair: Found,
  config: PeftConfig,
  base: LoraBase,
  problems: string[],
): void {
  if (pair.a === undefined || pair.b === undefined) {
    problems.push(`${key} has no lora_${pair.a === undefined ? 'A' : 'B'}`);
    return;
  }
  const [a, b] = [tensors.get(pair.a)!, tensors.get(pair.b)!];
  const [inputs, outputs] = moduleShape(base, pair.module);
  const { rank } = moduleSettings(config, key);
  if (rank > maxRank) problems.push(`${key} has rank ${rank}, expected at most ${maxRank}`);
  if (a.shape.join() !== `${rank},${inputs}`) {
    problems.push(`lora_A of ${key} is ${describeArray(a)}, expected [${rank}, ${inputs}]`);
  }
  if (b.shape.join() !== `${outputs},${rank}`) {
    problems.push(`lora_B of ${key} is ${describeArray(b)}, expected [${outputs}, ${rank}]`);
  }
}

/**
 * Writes an adapter as PEFT saves it: `adapter_model.safetensors` in f32 and `adapter_config.json`, which comes last. Factors keep their
 * bits: PEFT has a rank and an alpha for each module. An adapter that came from PEFT gets the settings back that it had.
 * @param baseName what PEFT shows as the base: a name on the hub or a folder; without it the adapter is loaded onto a model at hand
 * @throws LoamError for an adapter without modules
 */
export async function writePeft(folder: string, lora: Lora, base: LoraBase, baseName?: string): Promise<void> {
  if (lora.modules.length === 0)
    throw new LoamError({ code: 'invalid-data', found: 'an adapter that corrects nothing', where: folder });
  requireUsable(lora.path, lora.modules);
  const known = restored(lora, base);
  const modules = toHf(base, known?.modules ?? lora.modules);
  const settings = known?.settings ?? derived(modules, base);
  const tensors = modules.flatMap((module) => {
    const { inputs, outputs, rank, a, b } = module.factors;
    return [
      { name: tensorName(module, 'A'), ...fromFloat32(a, [rank, inputs], 'f32') },
      { name: tensorName(module, 'B'), ...fromFloat32(b, [outputs, rank], 'f32') },
    ];
  });
  const config = new Map<string, JsonValue>([
    ['peft_type', 'LORA'],
    ['task_type', 'CAUSAL_LM'],
    ['base_model_name_or_path', baseName ?? null],
    ['inference_mode', true],
    ['bias', 'none'],
    ['fan_in_fan_out', false],
    ['use_rslora', false],
    ['use_dora', false],
    ['lora_dropout', 0],
    ['init_lora_weights', true],
    ['modules_to_save', null],
    ...settings,
  ]);
  const configPath = join(folder, 'adapter_config.json');
  // An older adapter's settings must not stand beside new factors.
  await rm(configPath, { force: true });
  const metadata = [
    ['format', 'pt'],
    ['loam', encodeNotes(lora.notes)],
  ] as const;
  await writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors, metadata);
  await writeFileAtomic(configPath, `${jsonText(config, 2)}\n`);
}

/** The modules as they were in PEFT, where the GGUF says how that was: without ranks of zeros and with the factors that B then had. */
function restored(lora: Lora, base: LoraBase): { modules: LoraModule[]; settings: [string, JsonValue][] } | undefined {
  const config: PeftConfig | undefined = peftSettingsOf(lora.notes, lora.path);
  if (!config) return undefined;
  const modules: LoraModule[] = [];
  for (const module of lora.modules) {
    const name = fullName({ layer: module.layer, module: linearRow(base.family, module.module).module });
    const wanted = moduleSettings(config, name);
    const factors = unpadded(module.factors, wanted.rank);
    if (!factors) return undefined;
    const by = snapped(module.alpha / module.factors.rank / (wanted.alpha / wanted.rank));
    // Something has changed the file since: then it is described as it is.
    if (!Number.isFinite(by) || by <= 0) return undefined;
    modules.push({ ...module, factors: scaled(factors, by), alpha: wanted.alpha });
  }
  return { modules, settings: [...config.json] };
}

/** Settings that say what the modules are: the most frequent rank and alpha, and the others by name. */
function derived(modules: readonly HfModule[], base: LoraBase): [string, JsonValue][] {
  const rank = mostFrequent(modules.map(({ factors }) => factors.rank));
  const alpha = mostFrequent(modules.map((module) => module.alpha));
  const others = (of: (module: HfModule) => number, usual: number): JsonValue =>
    new Map(
      modules
        .filter((module) => of(module) !== usual)
        .map((module) => [fullName(module).replaceAll('.', '\\.'), of(module)]),
    );
  return [
    ['r', rank],
    ['lora_alpha', alpha],
    ['rank_pattern', others(({ factors }) => factors.rank, rank)],
    ['alpha_pattern', others((module) => module.alpha, alpha)],
    ['target_modules', targets(modules, base)],
  ];
}

/** Short names where each layer has the same modules; else all names, because a short one would adapt all layers. */
function targets(modules: readonly HfModule[], { family, layers }: LoraBase): string[] {
  const used = modulesOf(family).filter((name) => modules.some(({ module }) => module === name));
  if (modules.length === used.length * layers) return used.map((name) => name.split('.').at(-1)!);
  return modules.map(fullName);
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, pair) => (pair[1] > best[1] ? pair : best))[0];
}
