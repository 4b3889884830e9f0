import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError } from '../../base/errors.js';
import { writeFileAtomic } from '../../base/io.js';
import type { JsonValue } from '../../base/json.js';
import { linearRow, linearRowsAt } from '../../families/family.js';
import { requireFamily } from '../../families/foreign.js';
import { fromFloat32 } from '../../formats/arrays.js';
import { writeSafetensors } from '../../formats/safetensors.js';
import { openSafetensorsFolder } from '../../formats/safetensorsFolder.js';
import { scaled, snapped, unpadded } from '../alpha.js';
import type { LoraBase } from '../base.js';
import { type Lora, type LoraModule, requireUsable } from '../lora.js';
import {
  decodeNotes,
  encodeNotes,
  jsonText,
  moduleSettings,
  type PeftConfig,
  peftHolder,
  peftNotes,
  peftSettingsOf,
  readPeftConfig,
} from './config.js';
import { readFactors } from './factorTensors.js';
import {
  fullName,
  type HfModule,
  holderIn,
  holderOf,
  modulesOf,
  parseTensorName,
  readJsonFile,
  tensorName,
  textHolder,
  toHf,
} from './names.js';

/**
 * Reads an adapter of PEFT: `adapter_config.json` and `adapter_model.safetensors`, in f32, f16 or bf16 (widened exactly). Rows of B come
 * in the order of the GGUF model. Ranks and alphas may differ between modules, and the scale may be that of rsLoRA.
 * @throws UnsupportedError that names what Loam lacks for this adapter; LoamError that lists every mismatch with the base
 */
export async function readPeft(folder: string, base: LoraBase): Promise<Lora> {
  requireFamily(base.family, 'an adapter of PEFT', {
    where: folder,
    fix: "make LoRA GGUF of it with llama.cpp's convert_lora_to_gguf.py, which Loam reads",
  });
  const configPath = join(folder, 'adapter_config.json');
  const config = readPeftConfig(await readJsonFile(configPath), configPath);
  await using source = await openSafetensorsFolder(folder, 'adapter_model');
  const modules = await readFactors(source, base, {
    parse: parseTensorName,
    settings: (names) => moduleSettings(config, names),
  });
  const notes = decodeNotes(source.metadata.get('loam'));
  const holders = [...source.tensors.keys()].flatMap((name) => parseTensorName(base.family, name)?.path ?? []);
  for (const note of peftNotes(config, holderOf(holders[0]!))) notes.set(...note);
  return { path: folder, architecture: base.family.name, modules, notes };
}

/**
 * Writes an adapter as PEFT saves it: `adapter_model.safetensors` in f32 and `adapter_config.json`, which comes last. Factors keep their
 * bits: PEFT has a rank and an alpha for each module. An adapter that came from PEFT gets the settings back that it had.
 * @param baseName what PEFT shows as the base: a name on the hub or a folder; without it the adapter is loaded onto a model at hand
 * @throws LoamError for an adapter without modules
 */
export async function writePeft(folder: string, lora: Lora, base: LoraBase, baseName?: string): Promise<void> {
  requireFamily(base.family, 'an adapter of PEFT', {
    where: lora.path,
    fix: 'keep it as LoRA GGUF, which llama.cpp reads',
  });
  if (lora.modules.length === 0)
    throw new LoamError({ code: 'invalid-data', found: 'an adapter that corrects nothing', where: folder });
  requireUsable(lora.path, lora.modules);
  const made = peftHolder(lora.notes);
  const holder = holderIn(base, made);
  const known = restored(lora, base, made);
  const modules = toHf(base, known?.modules ?? lora.modules);
  // Settings name modules as they were called where PEFT made the adapter.
  const settings = known && holder === (made ?? textHolder) ? known.settings : derived(modules, base, holder);
  const tensors = modules.flatMap((module) => {
    const { inputs, outputs, rank, a, b } = module.factors;
    const name = fullName(module, holder);
    return [
      { name: tensorName(name, 'A'), ...fromFloat32(a, [rank, inputs], 'f32') },
      { name: tensorName(name, 'B'), ...fromFloat32(b, [outputs, rank], 'f32') },
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
function restored(
  lora: Lora,
  base: LoraBase,
  holder: string | undefined,
): { modules: LoraModule[]; settings: [string, JsonValue][] } | undefined {
  const config: PeftConfig | undefined = peftSettingsOf(lora.notes, lora.path);
  if (!config) return undefined;
  const modules: LoraModule[] = [];
  for (const module of lora.modules) {
    const place = { layer: module.layer, module: linearRow(base.family, module.module).module };
    const name = fullName(place, holder);
    const wanted = moduleSettings(config, [name]);
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
function derived(modules: readonly HfModule[], base: LoraBase, holder: string): [string, JsonValue][] {
  const rank = mostFrequent(modules.map(({ factors }) => factors.rank));
  const alpha = mostFrequent(modules.map((module) => module.alpha));
  const others = (of: (module: HfModule) => number, usual: number): JsonValue =>
    new Map(
      modules
        .filter((module) => of(module) !== usual)
        .map((module) => [fullName(module, holder).replaceAll('.', '\\.'), of(module)]),
    );
  return [
    ['r', rank],
    ['lora_alpha', alpha],
    ['rank_pattern', others(({ factors }) => factors.rank, rank)],
    ['alpha_pattern', others((module) => module.alpha, alpha)],
    ['target_modules', targets(modules, base, holder)],
  ];
}

/**
 * Short names where each layer that has these modules is adapted; else all names, because a short one would adapt all layers. In families
 * with models that also see always all names: short ones would adapt the part that sees, and onto the other class PEFT would load the
 * adapter without its factors, where it refuses whole names.
 */
function targets(modules: readonly HfModule[], base: LoraBase, holder: string): string[] {
  const all = modulesOf(base.family);
  const used = all.filter((name) => modules.some(({ module }) => module === name));
  let possible = 0;
  for (let l = 0; l < base.layers; l++) {
    possible += new Set(linearRowsAt(base, l).flatMap(({ module }) => (used.includes(module) ? [module] : []))).size;
  }
  if (modules.length !== possible || base.family.huggingFace.sees)
    return modules.map((module) => fullName(module, holder));
  const short = (name: string) => name.split('.').at(-1)!;
  return used.map((name) => (all.filter((other) => short(other) === short(name)).length > 1 ? name : short(name)));
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, pair) => (pair[1] > best[1] ? pair : best))[0];
}
