import { join } from 'node:path';
import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import type { JsonObject, JsonValue } from '../../base/json.js';
import { readJsonObject } from '../../base/jsonAccess.js';
import { type LayerLinear, layerLinears } from '../../families/family.js';
import type { Factors } from '../../model/factors.js';
import type { LoraBase } from '../base.js';

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

interface PeftTensor {
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

/**
 * Where row `i` of a query or key projection of Hugging Face's Llama stands in GGUF. Hugging Face pairs dimension k of a head with
 * k + headDim/2 in its rotation, llama.cpp 2k with 2k + 1, so its converter interleaves the two halves (conversion/llama.py, `permute`).
 */
function ggufRow(i: number, headDim: number): number {
  const half = headDim / 2;
  const within = i % headDim;
  return i - within + 2 * (within % half) + Math.floor(within / half);
}

/** Architectures whose query and key rows the converter reorders. */
const permuted: ReadonlySet<string> = new Set(['llama']);

/** Heads among the rows of a projection, or 0 where its rows stand in the same order in both. */
function headsOf(base: LoraBase, module: LayerLinear): number {
  if (!permuted.has(base.architecture)) return 0;
  return module === 'attn_q' ? base.heads : module === 'attn_k' ? base.kvHeads : 0;
}

/** Rows of `width` values each, from Hugging Face's order into that of GGUF, or back. A fresh array where anything changes. */
export function permuteRows<T extends Float32Array>(
  rows: T,
  width: number,
  base: LoraBase,
  module: LayerLinear,
  direction: 'toGguf' | 'toHf',
): T {
  const heads = headsOf(base, module);
  if (heads === 0) return rows;
  const count = rows.length / width;
  const headDim = count / heads;
  const out = rows.slice() as T;
  for (let i = 0; i < count; i++) {
    const at = ggufRow(i, headDim);
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

/** transformers' model_type, and the architecture that llama.cpp makes of it. */
const architectureOf: Readonly<Record<string, string>> = {
  llama: 'llama',
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  gemma3: 'gemma3',
  gemma3_text: 'gemma3',
};

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
  const architecture =
    typeof type === 'string' && Object.hasOwn(architectureOf, type) ? architectureOf[type] : undefined;
  if (architecture === undefined) {
    throw new UnsupportedError({
      found: `a model of the type ${typeof type === 'string' ? quote(type) : 'that config.json does not name'}`,
      expected: `one of ${Object.keys(architectureOf).join(', ')}`,
      where: path,
    });
  }
  // Gemma 3 with images keeps the settings of its text model apart.
  const inner = config.get('text_config');
  const text = inner instanceof Map ? (inner as JsonObject) : config;
  const size = (key: string, fallback?: number): number => {
    const value: JsonValue | undefined = text.get(key) ?? fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 1 << 20) return value;
    throw new LoamError({ found: `${key} is ${value === undefined ? 'missing' : 'no size'}`, where: path });
  };
  const [embedding, heads] = [size('hidden_size'), size('num_attention_heads')];
  const kvHeads = size('num_key_value_heads', heads);
  const headDim = size('head_dim', Math.floor(embedding / heads));
  const feedForward = size('intermediate_size');
  const shapes: Record<LayerLinear, [number, number]> = {
    attn_q: [embedding, heads * headDim],
    attn_k: [embedding, kvHeads * headDim],
    attn_v: [embedding, kvHeads * headDim],
    attn_output: [heads * headDim, embedding],
    ffn_gate: [embedding, feedForward],
    ffn_up: [embedding, feedForward],
    ffn_down: [feedForward, embedding],
  };
  const layers = size('num_hidden_layers');
  return { path, architecture, layers, heads, kvHeads, shape: (module) => shapes[module] };
}
