import { LoamError, UnsupportedError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import type { RopeParameters } from '../engine/operations.js';
import { hasKernel } from '../engine/tensorTypes.js';
import {
  type Family,
  type LayerLinear,
  linearRow,
  linearRows,
  normRows,
  rowShape,
  type Sizes,
} from '../families/family.js';
import { limits } from '../families/huggingFace.js';
import { families } from '../families/index.js';
import type { Gguf, GgufTensor } from '../formats/gguf/Gguf.js';
import { checkNativeKeys } from './nativeKeys.js';
import { checkNativeVocabulary } from './nativeVocabulary.js';

/** Sizes and constants of a model, read from its file. */
export interface Hyperparameters extends Sizes {
  readonly family: Family;
  readonly vocabulary: number;
  /** Tokens the model was trained to read. */
  readonly contextLength: number;
  readonly normEpsilon: number;
  /** Rotation in the layers that see everything. */
  readonly rope: RopeParameters;
  /** Factor of the attention scores, 1/sqrt(headDim) but for the largest models of some families. */
  readonly attentionScale: number;
  /** Factor of the embeddings that enter the residual stream; what the stream holds grows with it. */
  readonly embeddingScale: number;
  /** Factor of what a layer's two halves write to the residual stream. */
  readonly residualScale: number;
  /** Factor of the logits. */
  readonly logitScale: number;
  /** Layers that see the last tokens only, where the model has such. */
  readonly local?: {
    /** Tokens that a query sees, itself included. */
    readonly window: number;
    readonly rope: RopeParameters;
    /** Layer by layer, whether it is one. */
    readonly layers: readonly boolean[];
  };
}

function whole(gguf: Gguf, key: string, max: number, fallback?: number): number {
  const value = fallback === undefined ? gguf.number(key) : gguf.number(key, fallback);
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new LoamError({
      code: 'damaged',
      found: `${key} is ${value}`,
      expected: `a whole number from 1 to ${max}`,
      where: gguf.path,
      fix: 'fetch the model again',
    });
  }
  return value;
}

/** A number, or one for each layer, all of which must be the same. */
function kvHeadsOf(gguf: Gguf, key: string, heads: number): number {
  const value = gguf.metadata.get(key);
  if (value?.type !== 'array') return whole(gguf, key, limits.heads, heads);
  const found = new Set<unknown>(value.value as Iterable<unknown>);
  const [only] = found;
  if (found.size === 1 && typeof only === 'number' && only >= 1 && only <= limits.heads) return only;
  throw new UnsupportedError({
    found: 'layers with different numbers of key/value heads',
    expected: 'the same in every layer',
    where: gguf.path,
  });
}

function finite(gguf: Gguf, key: string, fallback: number): number {
  const value = gguf.number(key, fallback);
  if (!Number.isFinite(value) || value < 0) {
    const found = `${key} is ${value}`;
    throw new LoamError({ code: 'damaged', found, expected: 'a finite number', where: gguf.path });
  }
  return value;
}

/** A number whose powers and inverse are numbers too. */
function positive(gguf: Gguf, key: string, fallback: number): number {
  const value = finite(gguf, key, fallback);
  if (value > 1e-9 && value < 1e15) return value;
  const found = `${key} is ${value}`;
  throw new LoamError({ code: 'damaged', found, expected: 'a number between 1e-9 and 1e15', where: gguf.path });
}

/** RoPE scaling as llama.cpp derives it (llama-context.cpp, llama_context constructor). */
function readRope(gguf: Gguf, { name, block }: Family, headDim: number, contextLength: number): RopeParameters {
  const key = (part: string) => `${name}.rope.${part}`;
  const type = gguf.string(key('scaling.type'), 'linear');
  if (!['none', 'linear', 'yarn'].includes(type)) {
    throw new UnsupportedError({
      found: `RoPE scaling of type "${type}"`,
      expected: 'none, linear, yarn, or frequency factors as Llama 3 has them',
      where: gguf.path,
    });
  }
  const factorKey = [key('scaling.factor'), key('scale_linear')].find((one) => gguf.has(one)) ?? '';
  const factor = finite(gguf, factorKey, 0);
  return {
    dimensions: whole(gguf, key('dimension_count'), headDim, headDim),
    mode: block.rope,
    contextOriginal: whole(gguf, key('scaling.original_context_length'), limits.context, contextLength),
    base: positive(gguf, key('freq_base'), 10000),
    scale: type === 'none' || factor === 0 ? 1 : 1 / positive(gguf, factorKey, factor),
    extFactor: type === 'yarn' ? 1 : 0,
    attnFactor: finite(gguf, key('scaling.attn_factor'), 1),
    betaFast: finite(gguf, key('scaling.yarn_beta_fast'), 32),
    betaSlow: finite(gguf, key('scaling.yarn_beta_slow'), 1),
  };
}

/** Room within the context that libllama may add to what it is asked for, in longer ones of which it rotates by other factors. */
const contextRoom = 64;

/** Whether the factors of the rotation depend on how long the context is. */
const isByLength = (gguf: Gguf, { block }: Family): boolean =>
  (block.ropeFactors ?? []).filter((name) => gguf.tensors.has(`${name}.weight`)).length > 1;

/** Which layers see the last tokens only, and how they rotate (llama.cpp, src/models/gemma3.cpp, load_arch_hparams). */
function readLocal(
  gguf: Gguf,
  { name, block }: Family,
  layers: number,
  rope: RopeParameters,
): Hyperparameters['local'] {
  const key = (part: string) => `${name}.${part}`;
  const { local } = block;
  const window = gguf.number(key('attention.sliding_window'), 0);
  if (!local || window === 0) return undefined;
  const period = whole(gguf, key('attention.sliding_window_pattern'), limits.layers, local.period);
  if (period === 1) {
    const found = `${key('attention.sliding_window_pattern')} is 1: a window that no layer has`;
    throw new LoamError({ code: 'damaged', found, expected: 'at least 2', where: gguf.path });
  }
  const base = positive(gguf, key('rope.freq_base_swa'), local.ropeBase);
  return {
    window: whole(gguf, key('attention.sliding_window'), limits.context),
    rope: { ...rope, base, scale: 1 },
    layers: Array.from({ length: layers }, (_, l) => l % period < period - 1),
  };
}

/** Refuses what a file of a known family may ask for and the graph does not compute. */
function refuseVariants(gguf: Gguf, { name, title, block }: Family, headDim: number): void {
  const key = (part: string) => `${name}.${part}`;
  const same = (part: string) => gguf.number(key(part), headDim) === headDim;
  const problems: string[] = [];
  if (gguf.number(key('expert_count'), 0) > 0) problems.push('a mixture-of-experts model');
  if (gguf.number(key('final_logit_softcapping'), 0) > 0) problems.push('capped logits');
  if (!same('attention.value_length')) problems.push('values of another width than keys');
  const local = ['attention.key_length_swa', 'attention.value_length_swa', 'rope.dimension_count_swa'];
  if (!local.every(same)) problems.push('heads of another width in layers with a sliding window');
  for (const { key: part, value, otherwise } of block.switches ?? []) {
    if (gguf.boolean(key(part), value) !== value) problems.push(otherwise);
  }
  if (problems.length === 0) return;
  throw new UnsupportedError({
    found: problems.join(', '),
    expected: `a dense ${title} model as first published`,
    where: gguf.path,
    fix: 'choose a model that `loam models list` does not mark as unsupported',
  });
}

/**
 * Reads the hyperparameters and checks all that native code would trust: that the file's tensors have the shapes that follow from them and
 * types that every operation on them takes, and the metadata that libllama reads by itself, its tokeniser's tables among it. No model file
 * reaches native code that has not passed here.
 * @throws UnsupportedError for another family or variant; LoamError, listing every mismatch, for a file that contradicts itself.
 */
export function readHyperparameters(gguf: Gguf): Hyperparameters {
  const name = gguf.string('general.architecture');
  const family = families.get(name);
  const kind = gguf.string('general.type', 'model');
  if (kind !== 'model') {
    throw new LoamError({
      code: 'wrong-format',
      found: `this GGUF file holds ${kind === 'adapter' ? 'an adapter' : `"${kind}"`}`,
      expected: 'a base model',
      where: gguf.path,
      fix: kind === 'adapter' ? 'pass it with --adapter or --teacher, and the base model with --model' : undefined,
    });
  }
  if (!family) {
    throw new UnsupportedError({
      found: `a model of the architecture "${name}"`,
      expected: `one of ${[...families.keys()].join(', ')}`,
      where: gguf.path,
      fix: 'choose a model that `loam models list` does not mark as unsupported',
    });
  }
  const key = (part: string) => `${name}.${part}`;
  const embedding = whole(gguf, key('embedding_length'), limits.width);
  const heads = whole(gguf, key('attention.head_count'), limits.heads);
  const sizes: Sizes = {
    layers: whole(gguf, key('block_count'), limits.layers),
    embedding,
    heads,
    kvHeads: kvHeadsOf(gguf, key('attention.head_count_kv'), heads),
    headDim: whole(gguf, key('attention.key_length'), limits.width, Math.floor(embedding / heads)),
    feedForward: whole(gguf, key('feed_forward_length'), limits.width),
  };
  refuseVariants(gguf, family, sizes.headDim);
  checkNativeKeys(gguf, name);
  const trained = whole(gguf, key('context_length'), limits.context);
  const rope = readRope(gguf, family, sizes.headDim, trained);
  const contextLength = isByLength(gguf, family) ? rope.contextOriginal - contextRoom : trained;
  if (contextLength < 1) {
    const found = `factors of the rotation for a context of ${rope.contextOriginal} tokens`;
    throw new LoamError({ code: 'damaged', found, expected: `more than ${contextRoom}`, where: gguf.path });
  }
  const scales = family.block.scales?.(sizes, (part, fallback) => finite(gguf, key(part), fallback));
  const hyper: Hyperparameters = {
    family,
    ...sizes,
    vocabulary: gguf.tensor('token_embd.weight').shape[1] ?? 1,
    contextLength,
    normEpsilon: finite(gguf, key('attention.layer_norm_rms_epsilon'), 1e-5),
    rope,
    attentionScale: scales?.attention ?? 1 / Math.sqrt(sizes.headDim),
    embeddingScale: scales?.embedding ?? 1,
    residualScale: scales?.residual ?? 1,
    logitScale: scales?.logits ?? 1,
    local: readLocal(gguf, family, sizes.layers, rope),
  };
  checkTensors(gguf, hyper);
  checkNativeVocabulary(gguf, hyper.vocabulary);
  return hyper;
}

/**
 * ggml-order shape [inputs, outputs] of a layer's linear.
 * @throws RangeError for a linear that the family does not have
 */
export function linearShape(h: Sizes & { family: Family }, linear: LayerLinear): [number, number] {
  return rowShape(h, linearRow(h.family, linear));
}

function checkTensors(gguf: Gguf, h: Hyperparameters): void {
  const problems: string[] = [];
  const known = new Set<string>();
  const expect = (name: string, shape: number[], required = true) => {
    known.add(name);
    const tensor = gguf.tensors.get(name);
    if (!tensor) {
      if (required) problems.push(`${name} is missing`);
    } else if (tensor.shape.join() !== shape.join()) {
      problems.push(`${name} is [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`);
    } else if (!isComputed(tensor)) {
      problems.push(`${name} is stored as ${tensor.type.name}, expected ${shape.length === 1 ? 'f32' : 'floats'}`);
    }
  };
  if (h.heads % h.kvHeads !== 0) problems.push(`${h.heads} heads do not divide by ${h.kvHeads} key/value heads`);
  if (h.rope.dimensions % 2 !== 0) problems.push(`${h.rope.dimensions} rotated dimensions, expected an even number`);
  if (h.rope.dimensions !== h.headDim && !(h.family.block.partialRotation && h.rope.dimensions < h.headDim))
    problems.push(`${h.rope.dimensions} rotated dimensions of ${h.headDim} of a head`);
  expect('token_embd.weight', [h.embedding, h.vocabulary]);
  expect('output_norm.weight', [h.embedding]);
  expect('output.weight', [h.embedding, h.vocabulary], false);
  const { family } = h;
  for (const name of family.block.ropeFactors ?? []) expect(`${name}.weight`, [h.rope.dimensions / 2], false);
  for (let l = 0; l < h.layers; l++) {
    for (const { name, width } of normRows(family)) expect(`blk.${l}.${name}.weight`, [h[width]]);
    for (const row of linearRows(family)) {
      const shape = rowShape(h, row);
      expect(`blk.${l}.${row.name}.weight`, shape);
      if (row.bias) expect(`blk.${l}.${row.name}.bias`, [shape[1]], false);
    }
  }
  refuseUnknown(gguf, family, known);
  if (problems.length > 0) {
    throw new LoamError({
      code: 'damaged',
      found: `tensors that do not fit the file's own sizes: ${listFirst(problems)}`,
      where: gguf.path,
      fix: 'fetch the model again, or use a file made by llama.cpp',
    });
  }
}

/** Matrices are multiplied and looked up in; norms, biases and factors of the rotation meet f32 values, with which only f32 goes (binary-ops.cpp, rope). */
const isComputed = ({ shape, type }: GgufTensor): boolean =>
  shape.length === 1 ? type.name === 'f32' : hasKernel(type);

/** Tensors that the graph does not read would be missing from what it computes: llama.cpp uses every tensor of a file. */
function refuseUnknown(gguf: Gguf, { title }: Family, known: ReadonlySet<string>): void {
  const unknown = [...gguf.tensors.keys()].filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new UnsupportedError({
    found: `tensors that Loam has no use for: ${listFirst(unknown, 3, ', ')}`,
    expected: `those of a dense ${title} model`,
    where: gguf.path,
    fix: 'choose a model that `loam models list` does not mark as unsupported',
  });
}
