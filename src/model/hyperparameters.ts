import { LoamError, UnsupportedError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import type { RopeParameters } from '../engine/operations.js';
import { hasKernel } from '../engine/tensorTypes.js';
import {
  convolvedWidth,
  type Family,
  kindOf,
  type LayerLinear,
  linearRow,
  linearRowsAt,
  normRowsAt,
  rowShape,
  type Sizes,
  sizesAt,
  widthOf,
} from '../families/family.js';
import { limits } from '../families/huggingFace.js';
import { families } from '../families/index.js';
import type { Gguf, GgufTensor } from '../formats/gguf/Gguf.js';
import { contextRoom, readForeign } from './foreign.js';
import { checkSections, kindsOf, kvHeadsOf } from './layerKinds.js';
import { type LeftKeys, type ListedLayers, leftKeys, listedLayers } from './layerSizes.js';
import { finite, positive, VariantError, whole } from './metadata.js';
import { checkNativeKeys } from './nativeKeys.js';
import { checkNativeVocabulary } from './nativeVocabulary.js';
import { perLayerTensors } from './perLayer.js';
import { predictingLayers } from './slices/sliceFile.js';

/** Sizes and constants of a model, read from its file. */
export interface Hyperparameters extends Sizes {
  readonly family: Family;
  readonly vocabulary: number;
  /** Tokens that a convolution is over. */
  readonly taps?: number;
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
  /** Logits z become c·tanh(z/c). */
  readonly logitCap?: number;
  /** Keys and values that later layers attend to. */
  readonly left?: readonly LeftKeys[];
  /** Layers that see the last tokens only, where the model has such. */
  readonly local?: {
    /** Tokens that a query sees, itself included. */
    readonly window: number;
    readonly rope: RopeParameters;
    /** Layer by layer, whether it is one. */
    readonly layers: readonly boolean[];
  };
}

/** Rows of what goes from layer to layer: the residual stream, and behind it keys and values that later layers attend to. */
export function streamWidth({ embedding, left = [] }: Pick<Hyperparameters, 'embedding' | 'left'>): number {
  return left.reduce((sum, { width }) => sum + 2 * width, embedding);
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
    attnFactor:
      finite(gguf, key('scaling.attn_factor'), 1) *
      (block.yarnMultiplier && type === 'yarn'
        ? yarnFactor(factor, finite(gguf, key('scaling.yarn_log_multiplier'), 0))
        : 1),
    betaFast: finite(gguf, key('scaling.yarn_beta_fast'), 32),
    betaSlow: finite(gguf, key('scaling.yarn_beta_slow'), 1),
  };
}

/**
 * By what llama.cpp multiplies YaRN's factor of the scores, 1 + 0.1·ln(stretch), for a model that names a multiplier (llama-context.cpp);
 * in single precision.
 */
function yarnFactor(stretch: number, multiplier: number): number {
  const f = Math.fround;
  const scale = (by: number) => (stretch <= 1 ? 1 : f(f(f(0.1) * f(by)) * f(Math.log(stretch))) + 1);
  const own = multiplier === 0 ? scale(1) : f(scale(1) / scale(multiplier));
  return f(own / f(1 + f(f(0.1) * f(Math.log(Math.max(stretch, 1e-9))))));
}

/** Whether the factors of the rotation depend on how long the context is. */
const isByLength = (gguf: Gguf, { block }: Family): boolean =>
  (block.ropeFactors ?? []).filter((name) => gguf.tensors.has(`${name}.weight`)).length > 1;

/** Which layers see the last tokens only, and how they rotate (llama.cpp, src/models/gemma3.cpp, load_arch_hparams). */
function readLocal(
  gguf: Gguf,
  { name, block }: Family,
  layers: number,
  rope: RopeParameters,
  listed: ListedLayers | undefined,
): Hyperparameters['local'] {
  const key = (part: string) => `${name}.${part}`;
  const { local } = block;
  const window = gguf.number(key('attention.sliding_window'), 0);
  if (block.windows && window > 0) {
    return {
      window: whole(gguf, key('attention.sliding_window'), limits.context),
      rope,
      layers: new Array<boolean>(layers).fill(true),
    };
  }
  if (!local || (window === 0 && !listed)) return undefined;
  const base = positive(gguf, key('rope.freq_base_swa'), local.ropeBase);
  if (local.period === 'listed') {
    const { headDim } = listed!.sizes.each![listed!.windows.indexOf(true)] ?? listed!.sizes;
    return {
      window: whole(gguf, key('attention.sliding_window'), limits.context),
      rope: {
        ...rope,
        base,
        scale: 1,
        dimensions: whole(gguf, key('rope.dimension_count_swa'), headDim, rope.dimensions),
      },
      layers: listed!.windows,
    };
  }
  const period = whole(gguf, key('attention.sliding_window_pattern'), limits.layers, local.period);
  if (period === 1) {
    const found = `${key('attention.sliding_window_pattern')} is 1: a window that no layer has`;
    throw new LoamError({ code: 'damaged', found, expected: 'at least 2', where: gguf.path });
  }
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
  if (block.logitCap === undefined && gguf.number(key('final_logit_softcapping'), 0) > 0)
    problems.push('capped logits');
  if (!same('attention.value_length')) problems.push('values of another width than keys');
  const local = ['attention.key_length_swa', 'attention.value_length_swa', 'rope.dimension_count_swa'];
  if (block.local?.period === 'listed') {
    const [keys, values] = local.map((part) => gguf.number(key(part), headDim));
    if (keys !== values) problems.push('values of another width than keys in layers with a sliding window');
  } else if (!local.every(same)) problems.push('heads of another width in layers with a sliding window');
  for (const { key: part, value, otherwise } of block.switches ?? []) {
    if (gguf.boolean(key(part), value) !== value) problems.push(otherwise);
  }
  const { layersUnlike } = block;
  if (layersUnlike && gguf.number(key('block_count')) === layersUnlike.layers) problems.push(layersUnlike.otherwise);
  if (problems.length === 0) return;
  throw new VariantError({
    found: problems.join(', '),
    expected: `a dense ${title} model as first published`,
    where: gguf.path,
  });
}

/**
 * Reads the hyperparameters and checks all that native code would trust: that the file's tensors have the shapes that follow from them and
 * types that every operation on them takes, and the metadata that libllama reads by itself, its tokeniser's tables among it. No model file
 * reaches native code that has not passed here. Of an architecture that no file of `families` describes, and of what our own graph does not
 * compute of one that it does, such as experts, less is known, and checked: libllama alone computes its layers then.
 * @throws UnsupportedError for what is no language model; LoamError, listing every mismatch, for a file that contradicts itself.
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
  if (!family) return readForeign(gguf, name);
  try {
    return readFamily(gguf, family);
  } catch (error) {
    if (!(error instanceof VariantError)) throw error;
    return readForeign(gguf, name, error.fault.found);
  }
}

/** @throws VariantError; UnsupportedError for what neither computes */
function readFamily(gguf: Gguf, family: Family): Hyperparameters {
  const key = (part: string) => `${family.name}.${part}`;
  const embedding = whole(gguf, key('embedding_length'), limits.width);
  const heads = whole(gguf, key('attention.head_count'), limits.heads);
  const blocks = whole(gguf, key('block_count'), limits.layers);
  const layers = family.block.deltaNet ? predictingLayers(gguf) : blocks;
  if (!Number.isInteger(layers) || layers < 1 || layers > blocks) {
    const found = `${blocks - layers} of ${blocks} layers draft what the others may write`;
    throw new LoamError({ code: 'damaged', found, expected: 'fewer than all of them', where: gguf.path });
  }
  const { taps, ...kinds } = kindsOf(gguf, family, layers);
  const headDim = whole(gguf, key('attention.key_length'), limits.width, Math.floor(embedding / heads));
  refuseVariants(gguf, family, headDim);
  checkNativeKeys(gguf, family);
  const listed = family.block.local?.period === 'listed' ? listedLayers(gguf, family, layers, headDim) : undefined;
  const sizes: Sizes = {
    layers,
    embedding,
    heads,
    ...(listed?.sizes ?? {
      kvHeads: kvHeadsOf(gguf, key('attention.head_count_kv'), heads, family.block),
      headDim,
      feedForward: whole(gguf, key('feed_forward_length'), limits.width),
    }),
    ...kinds,
  };
  const trained = whole(gguf, key('context_length'), limits.context);
  const rope = readRope(gguf, family, sizes.headDim, trained);
  if (family.block.deltaNet) checkSections(gguf, family, rope.dimensions);
  const tempered = family.block.temperature && finite(gguf, key(family.block.temperature), 0) > 0;
  const within = tempered ? Math.min(trained, rope.contextOriginal) : trained;
  const contextLength = isByLength(gguf, family) ? rope.contextOriginal - contextRoom : within;
  if (contextLength < 1) {
    const found = `factors of the rotation for a context of ${rope.contextOriginal} tokens`;
    throw new LoamError({ code: 'damaged', found, expected: `more than ${contextRoom}`, where: gguf.path });
  }
  const local = readLocal(gguf, family, sizes.layers, rope, listed);
  const { logitCap } = family.block;
  const cap = logitCap === undefined ? 0 : finite(gguf, key('final_logit_softcapping'), logitCap);
  const left = local && listed ? leftKeys(sizes, local.layers) : [];
  const scales = family.block.scales?.(sizes, (part, fallback) => finite(gguf, key(part), fallback));
  const hyper: Hyperparameters = {
    family,
    ...sizes,
    ...(taps && { taps }),
    vocabulary: gguf.tensor('token_embd.weight').shape[1] ?? 1,
    contextLength,
    normEpsilon: finite(gguf, key('attention.layer_norm_rms_epsilon'), 1e-5),
    rope,
    attentionScale: scales?.attention ?? 1 / Math.sqrt(sizes.headDim),
    embeddingScale: scales?.embedding ?? 1,
    residualScale: scales?.residual ?? 1,
    logitScale: scales?.logits ?? 1,
    ...(cap > 0 && { logitCap: cap }),
    ...(left.length > 0 && { left }),
    local,
  };
  checkTensors(gguf, hyper);
  checkNativeVocabulary(gguf, hyper.vocabulary);
  return hyper;
}

/**
 * ggml-order shape [inputs, outputs] of a layer's linear.
 * @throws RangeError for a linear that the family does not have
 */
export function linearShape(h: Sizes & { family: Family }, linear: LayerLinear, layer: number): [number, number] {
  return rowShape(sizesAt(h, layer), linearRow(h.family, linear));
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
  const expectKernel = (name: string) => {
    expect(name, [h.taps ?? 0, convolvedWidth(h)]);
    const type = gguf.tensors.get(name)?.type.name ?? 'f32';
    if (type !== 'f32') problems.push(`${name} is stored as ${type}, expected f32`);
  };
  if (h.family.block.convolution && h.kinds && h.heads * h.headDim !== h.embedding)
    problems.push(`${h.heads} heads of ${h.headDim} values in a stream of ${h.embedding}`);
  const uneven = h.each?.find(({ kvHeads }) => h.heads % kvHeads !== 0) ?? h;
  if (h.heads % uneven.kvHeads !== 0)
    problems.push(`${h.heads} heads do not divide by ${uneven.kvHeads} key/value heads`);
  for (const { dimensions } of [h.rope, h.local?.rope ?? h.rope])
    if (dimensions % 2 !== 0) problems.push(`${dimensions} rotated dimensions, expected an even number`);
  if (h.rope.dimensions !== h.headDim && !(h.family.block.partialRotation && h.rope.dimensions < h.headDim))
    problems.push(`${h.rope.dimensions} rotated dimensions of ${h.headDim} of a head`);
  expect('token_embd.weight', [h.embedding, h.vocabulary]);
  expect(`${h.family.outputNorm?.name ?? 'output_norm'}.weight`, [h.embedding]);
  expect('output.weight', [h.embedding, h.vocabulary], false);
  const { family } = h;
  // libllama does not load layers that differ without them.
  const turns = h.each !== undefined && h.local?.layers.includes(false) === true;
  for (const name of family.block.ropeFactors ?? []) expect(`${name}.weight`, [h.rope.dimensions / 2], turns);
  if (h.perLayer) {
    const all = h.perLayer * h.layers;
    expect(`${perLayerTensors.table}.weight`, [all, h.vocabulary]);
    expect(`${perLayerTensors.projection}.weight`, [h.embedding, all]);
    expect(`${perLayerTensors.norm}.weight`, [h.perLayer]);
    requireWholeBlocks(gguf, h.perLayer);
  }
  for (let l = 0; l < h.layers; l++) {
    const own = sizesAt(h, l);
    for (const { name, stored = name, width, optional } of normRowsAt(h, l))
      expect(`blk.${l}.${stored}.weight`, [widthOf(own, width)], !optional);
    for (const row of linearRowsAt(h, l)) {
      const shape = rowShape(own, row);
      expect(`blk.${l}.${row.name}.weight`, shape);
      if (row.bias) expect(`blk.${l}.${row.name}.bias`, [shape[1]], false);
    }
    const kind = kindOf(h, l);
    // libllama loads them where they are, and computes without.
    if (kind === 'sharedKeys')
      for (const name of ['attn_k', 'attn_v', 'attn_k_norm']) known.add(`blk.${l}.${name}.weight`);
    if (kind === 'convolution') expectKernel(`blk.${l}.shortconv.conv.weight`);
    if (kind !== 'delta') continue;
    expectKernel(`blk.${l}.ssm_conv1d.weight`);
    for (const name of ['ssm_dt.bias', 'ssm_a']) expect(`blk.${l}.${name}`, [widthOf(h, 'deltaHeads')]);
  }
  refuseUnknown(gguf, h, known);
  if (problems.length > 0) {
    throw new LoamError({
      code: 'damaged',
      found: `tensors that do not fit the file's own sizes: ${listFirst(problems)}`,
      where: gguf.path,
      fix: 'fetch the model again, or use a file made by llama.cpp',
    });
  }
}

/** A layer's part of a row of the table is read by itself. */
function requireWholeBlocks(gguf: Gguf, width: number): void {
  const type = gguf.tensors.get(`${perLayerTensors.table}.weight`)?.type;
  if (!type || width % type.blockSize === 0) return;
  throw new VariantError({
    found: `embeddings of ${width} values for each layer in blocks of ${type.blockSize}`,
    expected: 'whole blocks',
    where: gguf.path,
  });
}

/** Matrices are multiplied and looked up in; norms, biases and factors of the rotation meet f32 values, with which only f32 goes (binary-ops.cpp, rope). */
const isComputed = ({ shape, type }: GgufTensor): boolean =>
  shape.length === 1 ? type.name === 'f32' : hasKernel(type);

/** Tensors that our graph does not read would be missing from what it computes: llama.cpp uses every tensor of a file. */
function refuseUnknown(gguf: Gguf, { family, layers }: Hyperparameters, known: ReadonlySet<string>): void {
  // Layers behind those of the model that draft what it may write on; libllama passes over them.
  const drafts = (name: string) =>
    family.block.deltaNet !== undefined && Number(/^blk\.(\d+)\./.exec(name)?.[1]) >= layers;
  const unknown = [...gguf.tensors.keys()].filter((name) => !known.has(name) && !drafts(name));
  if (unknown.length === 0) return;
  throw new VariantError({
    found: `tensors that a dense ${family.title} model does not have: ${listFirst(unknown, 3, ', ')}`,
    where: gguf.path,
  });
}
