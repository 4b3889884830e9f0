import { type LayerLinear, layerLinears } from '../../model/architecture.js';

/** Modules of a layer as transformers names them, the same for every family that Loam supports. */
const hfNames: Readonly<Record<LayerLinear, string>> = {
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

export interface PeftTensor {
  layer: number;
  module: LayerLinear;
  part: 'A' | 'B';
}

/** A module as the model of transformers calls it: `model.layers.0.self_attn.q_proj`. */
export function moduleName(layer: number, module: LayerLinear): string {
  return `model.layers.${layer}.${hfNames[module]}`;
}

/** `q_proj` and the like, as target_modules lists them. */
export function shortName(module: LayerLinear): string {
  return hfNames[module].split('.')[1]!;
}

/** A factor as PEFT saves it (get_peft_model_state_dict). */
export function tensorName(layer: number, module: LayerLinear, part: 'A' | 'B'): string {
  return `base_model.model.${moduleName(layer, module)}.lora_${part}.weight`;
}

/**
 * What a tensor's name says, or undefined. Also as PEFT has it in memory (with the adapter's name, `lora_A.default.weight`), and where the
 * text model is a part of a larger one (Gemma 3 with images).
 */
export function parseTensorName(name: string): PeftTensor | undefined {
  const match =
    /^(?:base_model\.model\.)?(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d{1,5})\.(self_attn|mlp)\.(\w+)\.lora_([AB])(?:\.default)?\.weight$/.exec(
      name,
    );
  const module = match && layerLinears.find((linear) => hfNames[linear] === `${match[2]}.${match[3]}`);
  return module ? { layer: Number(match[1]), module, part: match[4] as 'A' | 'B' } : undefined;
}
