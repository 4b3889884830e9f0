import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayerLinear } from '../../model/architecture.js';
import { LoamError, UnsupportedError } from '../../util/errors.js';
import { explainReadError } from '../../util/openRegularFile.js';
import { type JsonObject, type JsonValue, parseJson } from '../../util/parseJson.js';
import { quote } from '../../util/quote.js';
import type { LoraBase } from '../LoraBase.js';

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
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > maxConfigBytes) throw new LoamError({ found: `${size} bytes of settings`, where: path });
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw explainReadError(error, path);
  }
  const value = parseJson(text, path, { bigIntegers: 'round' });
  if (value instanceof Map) return value as JsonObject;
  throw new LoamError({ found: 'no object', expected: 'settings as a JSON object', where: path });
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
