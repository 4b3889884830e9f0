import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromFloat32 } from '../../formats/fromFloat32.js';
import { writeSafetensors } from '../../formats/writeSafetensors.js';
import { layerLinears } from '../../model/architecture.js';
import { LoamError } from '../../util/errors.js';
import type { JsonValue } from '../../util/parseJson.js';
import { writeFileAtomic } from '../../util/writeFileAtomic.js';
import type { LoraBase } from '../LoraBase.js';
import type { Lora, LoraModule } from '../lora.js';
import { scaled, snapped, unpadded } from '../oneAlpha.js';
import { moduleName, shortName, tensorName } from './names.js';
import { encodeNotes, jsonText, peftSettingsOf } from './notes.js';
import { moduleSettings, type PeftConfig } from './PeftConfig.js';
import { permuteFactors } from './permuteRows.js';

/**
 * Writes an adapter as PEFT saves it: `adapter_model.safetensors` in f32 and `adapter_config.json`, which comes last. Factors keep their
 * bits: PEFT has a rank and an alpha for each module. An adapter that came from PEFT gets the settings back that it had.
 * @param baseName what PEFT shows as the base: a name on the hub or a folder; without it the adapter is loaded onto a model at hand
 * @throws LoamError for an adapter without modules
 */
export async function writePeft(folder: string, lora: Lora, base: LoraBase, baseName?: string): Promise<void> {
  if (lora.modules.length === 0) throw new LoamError({ found: 'an adapter that corrects nothing', where: folder });
  const { modules, settings } = restored(lora) ?? { modules: lora.modules, settings: derived(lora.modules, base) };
  const tensors = modules.flatMap(({ layer, module, factors }) => {
    const { inputs, outputs, rank, a, b } = permuteFactors(factors, base, module, 'toHf');
    return [
      { name: tensorName(layer, module, 'A'), ...fromFloat32(a, [rank, inputs], 'f32') },
      { name: tensorName(layer, module, 'B'), ...fromFloat32(b, [outputs, rank], 'f32') },
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
function restored(lora: Lora): { modules: LoraModule[]; settings: [string, JsonValue][] } | undefined {
  const config: PeftConfig | undefined = peftSettingsOf(lora.notes, lora.path);
  if (!config) return undefined;
  const modules: LoraModule[] = [];
  for (const module of lora.modules) {
    const wanted = moduleSettings(config, moduleName(module.layer, module.module));
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
function derived(modules: readonly LoraModule[], base: LoraBase): [string, JsonValue][] {
  const rank = mostFrequent(modules.map(({ factors }) => factors.rank));
  const alpha = mostFrequent(modules.map((module) => module.alpha));
  const others = (differs: (module: LoraModule) => number | undefined): JsonValue =>
    new Map(
      modules.flatMap((module): [string, number][] => {
        const value = differs(module);
        return value === undefined ? [] : [[moduleName(module.layer, module.module).replaceAll('.', '\\.'), value]];
      }),
    );
  return [
    ['r', rank],
    ['lora_alpha', alpha],
    ['rank_pattern', others(({ factors }) => (factors.rank === rank ? undefined : factors.rank))],
    ['alpha_pattern', others((module) => (module.alpha === alpha ? undefined : module.alpha))],
    ['target_modules', targets(modules, base)],
  ];
}

/** Short names where each layer has the same modules; else all names, because a short one would adapt all layers. */
function targets(modules: readonly LoraModule[], base: LoraBase): string[] {
  const used = layerLinears.filter((linear) => modules.some(({ module }) => module === linear));
  if (modules.length === used.length * base.layers) return used.map(shortName);
  return modules.map(({ layer, module }) => moduleName(layer, module));
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, pair) => (pair[1] > best[1] ? pair : best))[0];
}
