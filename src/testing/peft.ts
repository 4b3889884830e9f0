import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoraBase } from '../adapters/base.js';
import { Random } from '../base/random.js';
import { type LayerLinear, linearRow, linearsOf } from '../families/family.js';
import { families } from '../families/index.js';
import { fromFloat32 } from '../formats/arrays.js';
import { writeSafetensors } from '../formats/safetensors.js';
import { linearShape } from '../model/hyperparameters.js';

export function tinyBase(architecture = 'llama'): LoraBase {
  const sizes = { layers: 2, embedding: 32, heads: 4, kvHeads: 2, headDim: 8, feedForward: 48 };
  return { path: 'tiny', family: families.get(architecture)!, ...sizes };
}

export interface PeftModule {
  layer: number;
  module: LayerLinear;
  rank: number;
}

export const hfName = (layer: number, module: LayerLinear) =>
  `model.layers.${layer}.${linearRow(tinyBase().family, module).module}`;

/** Every linear of two layers. */
export const everywhere = (rank: (module: LayerLinear, layer: number) => number): PeftModule[] =>
  [0, 1].flatMap((layer) =>
    linearsOf(tinyBase().family).map((module) => ({ layer, module, rank: rank(module, layer) })),
  );

export type Weights = Map<string, Float32Array>;

/** Writes an adapter as PEFT would, with random factors; returns them by the tensors' names. */
export async function writePeftFolder(
  folder: string,
  config: object,
  modules: readonly PeftModule[],
  options: { dtype?: 'f32' | 'f16' | 'bf16'; seed?: number; rename?: (name: string) => string } = {},
): Promise<Weights> {
  const random = new Random(options.seed ?? 1);
  const { dtype = 'f32', rename = (name: string) => name } = options;
  const weights: Weights = new Map();
  const tensors = modules.flatMap(({ layer, module, rank }) => {
    const [inputs, outputs] = linearShape(tinyBase(), module, layer);
    const one = (part: 'A' | 'B', rows: number, columns: number) => {
      const values = new Float32Array(rows * columns).map(() => 0.3 * random.normal());
      const name = `base_model.model.${hfName(layer, module)}.lora_${part}.weight`;
      weights.set(name, values);
      return { name: rename(name), ...fromFloat32(values, [rows, columns], dtype) };
    };
    return [one('A', rank, inputs), one('B', outputs, rank)];
  });
  mkdirSync(folder, { recursive: true });
  await writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors, [['format', 'pt']]);
  const settings = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj'], bias: 'none', ...config };
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(settings));
  return weights;
}
