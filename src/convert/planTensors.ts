import type { StoredTensor } from '../formats/SafetensorsFile.js';
import { type TensorType, tensorTypes } from '../ggml/tensorTypes.js';
import { UnsupportedError } from '../util/errors.js';
import { quote } from '../util/quote.js';
import type { Part, Shape, Size } from './families.js';
import type { HfSettings } from './HfSettings.js';
import type { Problems } from './Problems.js';

/** Types that are written without libllama's quantiser. */
export type DirectType = 'f32' | 'f16' | 'bf16' | 'q8_0';

/** One tensor of the GGUF file, and how it comes about. */
export interface PlannedTensor {
  readonly name: string;
  readonly type: TensorType;
  /** ggml's order: the length of a row first. */
  readonly shape: readonly number[];
  /** Its name in the safetensors. */
  readonly source: string;
  readonly stored: StoredTensor;
  /** Added to each value. */
  readonly shift: number;
  /** Heads whose rows are interleaved: the first half of each with its second. */
  readonly interleavedHeads?: number;
}

/** Vision and audio towers of multimodal checkpoints, which another file of llama.cpp's would hold (base.py, TextModel.filter_tensors). */
const otherSenses =
  /^(?:mlp|vit\.|vpm\.|siglip2\.|conformer\.|merger\.|resampler\.)|visual\.|vision\.|audio\.|vision_|audio_|projector\./;

/** Constants that old versions saved beside the weights. */
const leftOvers = /(?:\.attention\.masked_bias|\.attention\.bias|\.rotary_emb\.inv_freq)$/;

/** The order in which llama.cpp's converter takes them: file by file, names sorted. */
export function inConverterOrder(tensors: ReadonlyMap<string, StoredTensor>): string[] {
  const key = (name: string): string => `${tensors.get(name)!.file ?? ''}\u0000${name}`;
  // By code units, as Python sorts what is ASCII.
  return [...tensors.keys()]
    .map((name) => [key(name), name] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, name]) => name);
}

/** The type of most matrices in the folder: what `auto` becomes. f32 weights become f16, as llama.cpp's converter decides. */
export function storedType(tensors: ReadonlyMap<string, StoredTensor>): 'f16' | 'bf16' {
  for (const name of inConverterOrder(tensors)) {
    const { dtype, shape } = tensors.get(name)!;
    if (shape.length >= 2 && (dtype === 'bf16' || dtype === 'f16')) return dtype;
  }
  return 'f16';
}

interface Target {
  readonly name: string;
  readonly shape: readonly number[];
  readonly part?: Part;
}

function sizes(settings: HfSettings): Record<Size | 'headDim', number> {
  return {
    hidden: settings.hidden,
    query: settings.heads * settings.headDim,
    keyValue: settings.kvHeads * settings.headDim,
    feedForward: settings.feedForward,
    vocabulary: settings.vocabulary,
    headDim: settings.headDim,
  };
}

/** Every tensor that may be in the folder, by its name there; and those that must be. */
function targets(settings: HfSettings): { all: Map<string, Target>; required: Set<string> } {
  const length = sizes(settings);
  const shapeOf = (shape: Shape): number[] =>
    typeof shape === 'string' ? [length[shape]] : shape.map((size) => length[size]);
  const all = new Map<string, Target>();
  const required = new Set<string>();
  const add = (hf: string, target: Target, must: boolean) => {
    all.set(hf, target);
    if (must) required.add(hf);
  };
  const table = [length.vocabulary, length.hidden];
  add('model.embed_tokens.weight', { name: 'token_embd.weight', shape: table }, true);
  add('model.norm.weight', { name: 'output_norm.weight', shape: [length.hidden] }, true);
  add('lm_head.weight', { name: 'output.weight', shape: table }, !settings.tied);
  for (let l = 0; l < settings.layers; l++) {
    for (const part of settings.family.layer) {
      const shape = shapeOf(part.shape);
      const names = [`model.layers.${l}.${part.hf}`, `blk.${l}.${part.gguf}`] as const;
      add(`${names[0]}.weight`, { name: `${names[1]}.weight`, shape, part }, true);
      if (shape.length === 2) add(`${names[0]}.bias`, { name: `${names[1]}.bias`, shape: [shape[0]!], part }, false);
    }
  }
  return { all, required };
}

const isNorm = (name: string): boolean => name.endsWith('norm.weight') || name.endsWith('layernorm.weight');

/** The type that llama.cpp's converter gives a tensor (base.py, prepare_tensors). */
function typeOf(name: string, shape: readonly number[], wanted: DirectType): TensorType {
  if (shape.length < 2 || !name.endsWith('.weight')) return tensorTypes.f32;
  const type = tensorTypes[wanted];
  return shape.at(-1)! % type.blockSize === 0 ? type : tensorTypes.f16;
}

/**
 * Holds the tensors of a folder against what its config.json says and plans those of the GGUF file, in the order of llama.cpp's converter.
 * Missing, unknown and wrong ones go to `problems`.
 * @param tokens in the vocabulary: rows of the embeddings beyond them are cut off where the family's converter does so (Gemma 3)
 */
export function planTensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  settings: HfSettings,
  wanted: DirectType,
  tokens: number,
  problems: Problems,
): PlannedTensor[] {
  const { all, required } = targets(settings);
  const planned = new Map<string, PlannedTensor>();
  for (const source of inConverterOrder(tensors)) {
    if (leftOvers.test(source) || otherSenses.test(source)) continue;
    // Multimodal checkpoints: language_model.model.layers..., or model.language_model.layers...
    const plain = source.replace('language_model.', '');
    const target = all.get(plain);
    const stored = tensors.get(source)!;
    if (!target) {
      problems.add(`a tensor ${quote(source)} that ${settings.family.title} does not have`);
      continue;
    }
    required.delete(plain);
    if (planned.has(target.name)) problems.add(`two tensors for ${target.name}`);
    let shape = stored.shape;
    const cuts = settings.family.architecture === 'gemma3' && target.name === 'token_embd.weight';
    const expected = target.shape;
    if (cuts && shape.length === 2 && shape[0]! >= tokens) shape = [tokens, shape[1]!];
    const wantedShape = cuts ? [tokens, expected[1]!] : expected;
    if (shape.join() !== wantedShape.join()) {
      problems.add(`${quote(source)} is [${stored.shape.join(', ')}], expected [${wantedShape.join(', ')}]`);
      continue;
    }
    if (stored.dtype !== 'f32' && stored.dtype !== 'f16' && stored.dtype !== 'bf16') {
      throw new UnsupportedError({
        found: `tensor ${quote(source)} of type ${stored.dtype}`,
        expected: 'bf16, f16 or f32: the folder of the model before it was quantised',
      });
    }
    const { permuted } = target.part ?? {};
    planned.set(target.name, {
      name: target.name,
      type: typeOf(target.name, shape, wanted),
      shape: [...shape].reverse(),
      source,
      stored,
      shift: isNorm(plain) ? settings.family.normShift : 0,
      interleavedHeads: permuted && settings[permuted],
    });
  }
  for (const missing of required) problems.add(`${quote(missing)} is missing`);
  if (!settings.tied && required.has('lm_head.weight')) {
    problems.add('config.json does not say that the output head is the table of embeddings (tie_word_embeddings)');
  }
  return [...planned.values()];
}
