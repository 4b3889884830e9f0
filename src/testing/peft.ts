import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoraBase } from '../adapters/base.js';
import { Random } from '../base/random.js';
import { type LayerLinear, layerLinears } from '../families/family.js';
import { fromFloat32 } from '../formats/arrays.js';
import { writeSafetensors } from '../formats/safetensors.js';

const [embedding, heads, kvHeads, headDim, feedForward] = [32, 4, 2, 8, 48];
const shapes: Record<LayerLinear, [number, number]> = {
  attn_q: [embedding, heads * headDim],
  attn_k: [embedding, kvHeads * headDim],
  attn_v: [embedding, kvHeads * headDim],
  attn_output: [heads * headDim, embedding],
  ffn_gate: [embedding, feedForward],
  ffn_up: [embedding, feedForward],
  ffn_down: [feedForward, embedding],
};

export function tinyBase(architecture = 'llama'): LoraBase {
  return { path: 'tiny', architecture, layers: 2, heads, kvHeads, shape: (module) => shapes[module] };
}

export interface PeftModule {
  layer: number;
  module: LayerLinear;
  rank: number;
}

const names = {
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
} as const;
export const hfName = (layer: number, module: LayerLinear) => `model.layers.${layer}.${names[module]}`;

/** Every linear of two layers. */
export const everywhere = (rank: (module: LayerLinear, layer: number) => number): PeftModule[] =>
  [0, 1].flatMap((layer) => layerLinears.map((module) => ({ layer, module, rank: rank(module, layer) })));

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
    const [inputs, outputs] = shapes[module];
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
