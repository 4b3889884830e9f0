import { join } from 'node:path';
import { toFloat32 } from '../../formats/asNumbers.js';
import { describeArray } from '../../formats/dtypes.js';
import type { StoredTensor, TensorSource } from '../../formats/SafetensorsFile.js';
import { openSafetensorsFolder } from '../../formats/SafetensorsFolder.js';
import { type LayerLinear, layerLinears } from '../../model/architecture.js';
import { quote } from '../../util/quote.js';
import type { LoraBase } from '../LoraBase.js';
import { type Lora, type LoraModule, maxRank } from '../lora.js';
import { throwProblems } from '../throwProblems.js';
import { readJsonFile } from './hfBase.js';
import { moduleName, parseTensorName } from './names.js';
import { decodeNotes, peftSettingsNote } from './notes.js';
import { moduleSettings, type PeftConfig, readPeftConfig } from './PeftConfig.js';
import { permuteFactors } from './permuteRows.js';

interface Found {
  layer: number;
  module: LayerLinear;
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
  return { path: folder, architecture: base.architecture, modules, notes };
}

async function readModules(source: TensorSource, config: PeftConfig, base: LoraBase): Promise<LoraModule[]> {
  const problems: string[] = [];
  const found = new Map<string, Found>();
  for (const [name, tensor] of source.tensors) {
    const parsed = parseTensorName(name);
    if (!parsed || parsed.layer >= base.layers) {
      problems.push(`${quote(name)} corrects nothing that the base model has and Loam adapts`);
      continue;
    }
    if (!['f32', 'f16', 'bf16'].includes(tensor.dtype)) problems.push(`${quote(name)} is stored as ${tensor.dtype}`);
    const { layer, module, part } = parsed;
    const key = moduleName(layer, module);
    const pair = found.get(key) ?? { layer, module };
    found.set(key, pair);
    const side = part === 'A' ? 'a' : 'b';
    if (pair[side] !== undefined) problems.push(`${key} has two lora_${part}`);
    pair[side] = name;
  }
  for (const [key, pair] of found) checkPair(source.tensors, key, pair, config, base, problems);
  if (found.size === 0 && problems.length === 0) problems.push('it holds no lora_A and lora_B tensors');
  throwProblems(source.path, problems);

  const order = (pair: Found) => pair.layer * layerLinears.length + layerLinears.indexOf(pair.module);
  const modules: LoraModule[] = [];
  for (const pair of [...found.values()].sort((x, y) => order(x) - order(y))) {
    const { layer, module } = pair;
    const [inputs, outputs] = base.shape(module);
    const a = toFloat32(await source.read(pair.a!));
    const b = toFloat32(await source.read(pair.b!));
    for (const [name, values] of [
      [pair.a!, a],
      [pair.b!, b],
    ] as const) {
      if (!values.every(Number.isFinite)) problems.push(`${quote(name)} holds values that are not finite`);
    }
    const { rank, alpha } = moduleSettings(config, moduleName(layer, module));
    const factors = permuteFactors({ inputs, outputs, rank, a, b }, base, module, 'toGguf');
    modules.push({ layer, module, factors, alpha });
  }
  throwProblems(source.path, problems);
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
  const [inputs, outputs] = base.shape(pair.module);
  const { rank } = moduleSettings(config, key);
  if (rank > maxRank) problems.push(`${key} has rank ${rank}, expected at most ${maxRank}`);
  if (a.shape.join() !== `${rank},${inputs}`) {
    problems.push(`lora_A of ${key} is ${describeArray(a)}, expected [${rank}, ${inputs}]`);
  }
  if (b.shape.join() !== `${outputs},${rank}`) {
    problems.push(`lora_B of ${key} is ${describeArray(b)}, expected [${outputs}, ${rank}]`);
  }
}
