import type { RopeParameters } from '../engine/operations.js';
import type { HuggingFace } from './huggingFace.js';

/**
 * What distinguishes one model family from another, as data: one row that the forward graph, the tables of tensors, conversion and
 * PEFT follow. A family is one file beside this one, and a line in `index.ts`; nothing else names it.
 */
export interface Family {
  /** `general.architecture` in the file. */
  readonly name: string;
  readonly title: string;
  /** It has no file here: see `foreign.ts`. */
  readonly isForeign?: true;
  /** What a layer holds, in the order data flows through it. */
  readonly layer: readonly LayerRow[];
  readonly block: Block;
  /** The norm before the output head, in GGUF and within transformers' model; absent: `output_norm`, `norm`. */
  readonly outputNorm?: { readonly name: string; readonly module: string };
  /** Chat template of the family's instruct models, for files without one; `marker` is a token that they then have. */
  readonly template?: { readonly marker: string; readonly source: string };
  readonly huggingFace: HuggingFace;
}

/** How the forward graph (`model/block.ts`) computes with them. */
export interface Block {
  /** How rotary embeddings pair the dimensions of a head (llama-model.cpp, llama_model_rope_type). */
  readonly rope: RopeParameters['mode'];
  /**
   * Tensors that may hold factors of the rotation's frequencies, `<name>.weight`. Of two, libllama takes the first where its context is
   * no longer than the one that the model was trained with before it was stretched, and so does Loam, which stays within that.
   */
  readonly ropeFactors?: readonly string[];
  /** A file may have only some dimensions of a head rotated; elsewhere llama.cpp aborts then. */
  readonly partialRotation?: boolean;
  readonly activation: 'swiglu' | 'geglu';
  /** llama.cpp scales queries, instead of the scores: the same but for rounding. */
  readonly scaledQueries?: boolean;
  readonly local?: LocalAttention;
  /** A file may have all of its layers with attention see the last tokens only. */
  readonly windows?: true;
  /** Heads of values are divided by their root mean square, as those of keys are before their norm's weights. */
  readonly evenValues?: true;
  /** A file may name a cap c of the logits z, which become c·tanh(z/c); 0 is none. This where it does not. */
  readonly logitCap?: number;
  /** A file may have embeddings of their own for each layer, which stand before what it leaves behind. */
  readonly perLayerEmbeddings?: true;
  /** Layers that mix tokens by a short convolution stand between those with attention. */
  readonly convolution?: Convolution;
  /** Or by a gated delta net. */
  readonly deltaNet?: DeltaNet;
  /** What attention has mixed is multiplied by a gate, head by head, whose rows stand behind the queries' in `attn_q`. */
  readonly gatedAttention?: true;
  /** Of so many layers the last one does not rotate: its attention knows no positions (NoPE). */
  readonly unrotated?: number;
  /** YaRN's factor of the scores follows `rope.scaling.yarn_log_multiplier` (llama-context.cpp); elsewhere llama.cpp does not read it. */
  readonly yarnMultiplier?: true;
  /**
   * Key of a number that raises the scores beyond the context which the model was trained with before it was stretched; 0 is none.
   * Loam stays within that context.
   */
  readonly temperature?: string;
  /** @param read a number of the file, by its key behind the family's name */
  readonly scales?: (sizes: Sizes, read: (key: string, fallback: number) => number) => Scales;
  /** Switches that a file may hold, by their key behind the family's name, with the one value that Loam computes. */
  readonly switches?: readonly { readonly key: string; readonly value: boolean; readonly otherwise: string }[];
  /** What llama.cpp computes with other constants for models of so many layers, and Loam not. */
  readonly layersUnlike?: { readonly layers: number; readonly otherwise: string };
}

/** Layers that see only the last tokens, with a rotation of their own, between layers that see everything. */
export interface LocalAttention {
  /** Of so many layers the last one sees everything; `listed`: a file says it of each layer, and their heads have a width of their own. */
  readonly period: number | 'listed';
  /** Base of the rotation in the layers that see the last tokens only, where the file does not say. */
  readonly ropeBase: number;
}

/**
 * y = W_out·(c ⊙ Σ_j k_j ⊙ (b ⊙ x)[t - j]), with b, c, x below one another in W_in·input: each dimension of the stream by itself, over
 * so many tokens (Hasani et al. 2025, LFM2). A layer with 0 key/value heads is one.
 */
export interface Convolution {
  /** Key of the number of tokens, behind the family's name. */
  readonly taps: string;
  /** Its module in a layer of transformers' model; the kernel is `<module>.weight` there, `blk.<l>.shortconv.conv.weight` in GGUF. */
  readonly module: string;
}

/**
 * The gated delta rule (Yang et al. 2024, Gated DeltaNet): a head keeps a matrix S of what was written under which key, forgets a part
 * of it with each token, and replaces what it holds under the token's key, by a share β:
 * S_t = e^g·S_{t-1} + β·k·(v - e^g·S_{t-1}ᵀ·k)ᵀ, o = S_tᵀ·q/√d. Queries, keys and values have been through a short convolution.
 */
export interface DeltaNet {
  /** Of so many layers the last one has attention, where the file does not say. */
  readonly period: number;
  /** Its module in a layer of transformers' model. */
  readonly module: string;
}

/**
 * How a layer mixes tokens. By attention: with keys that are its values too (`keysAlone`), or with those of an earlier layer
 * (`sharedKeys`).
 */
export type LayerKind = 'attention' | 'keysAlone' | 'sharedKeys' | 'convolution' | 'delta';

/** Constants of the graph; without one: 1, and for attention 1/√headDim. */
export interface Scales {
  /** Factor of the embeddings that enter the residual stream. The output head reads them as they are. */
  readonly embedding?: number;
  /** Factor of the scores of attention. */
  readonly attention?: number;
  /** Factor of what a layer's two halves write to the residual stream. */
  readonly residual?: number;
  /** Factor of the logits. */
  readonly logits?: number;
}

/** Sizes of a model that its layers' tensors are made of. */
export interface Sizes {
  readonly layers: number;
  /** Width of the residual stream. */
  readonly embedding: number;
  readonly heads: number;
  /** Heads of keys and values; each serves heads / kvHeads query heads (Ainslie et al. 2023). */
  readonly kvHeads: number;
  readonly headDim: number;
  readonly feedForward: number;
  /** How each layer mixes tokens; absent: all by attention. */
  readonly kinds?: readonly LayerKind[];
  /** Where some do so by a gated delta net. */
  readonly delta?: DeltaSizes;
  /** Of each layer, where they differ. */
  readonly each?: readonly LayerSizes[];
  /** Width of the embeddings that each layer has of its own. */
  readonly perLayer?: number;
}

/** Sizes that layers of one model may differ in. */
export type LayerSizes = Pick<Sizes, 'kvHeads' | 'headDim' | 'feedForward'>;

/** The sizes as one layer has them. */
export function sizesAt<T extends Sizes>(sizes: T, layer: number): T {
  const own = sizes.each?.[layer];
  return own ? { ...sizes, ...own } : sizes;
}

/** Value head h reads by key head h mod keyHeads. */
export interface DeltaSizes {
  readonly keyHeads: number;
  readonly valueHeads: number;
  /** Of queries, keys and values alike. */
  readonly headDim: number;
}

/** Of all queries, or all keys, of a token; of a delta net's queries and keys, its values, its heads; the others are sizes themselves. */
type Width =
  | 'query'
  | 'keyValue'
  | 'embedding'
  | 'headDim'
  | 'feedForward'
  | 'deltaKeys'
  | 'deltaValues'
  | 'deltaHeads'
  | 'deltaHeadDim'
  | 'perLayer'
  | 'one';

export function widthOf(sizes: Sizes, width: Width): number {
  const { keyHeads, valueHeads, headDim } = sizes.delta ?? { keyHeads: 0, valueHeads: 0, headDim: 0 };
  switch (width) {
    case 'query':
      return sizes.heads * sizes.headDim;
    case 'keyValue':
      return sizes.kvHeads * sizes.headDim;
    case 'deltaKeys':
      return keyHeads * headDim;
    case 'deltaValues':
      return valueHeads * headDim;
    case 'deltaHeads':
      return valueHeads;
    case 'deltaHeadDim':
      return headDim;
    case 'perLayer':
      return sizes.perLayer ?? 0;
    case 'one':
      return 1;
    default:
      return sizes[width];
  }
}

/** Values of a token that a layer's convolution is over, each dimension by itself. */
export function convolvedWidth(sizes: Sizes): number {
  return sizes.delta ? 2 * widthOf(sizes, 'deltaKeys') + widthOf(sizes, 'deltaValues') : sizes.embedding;
}

/** A weight of a layer as its file names it: `blk.<l>.<name>.weight` (and `.bias` where the family has one). */
export type LayerLinear =
  | 'attn_q'
  | 'attn_k'
  | 'attn_v'
  | 'attn_qkv'
  | 'attn_output'
  | 'shortconv.in_proj'
  | 'shortconv.out_proj'
  | 'attn_gate'
  | 'ssm_beta'
  | 'ssm_alpha'
  | 'ssm_out'
  | 'ffn_gate'
  | 'ffn_up'
  | 'ffn_down'
  | 'inp_gate'
  | 'proj';
/** Norms before attention and feed-forward, which most families have. */
export type InputNorm = 'attn_norm' | 'ffn_norm';
/** Norms of each head's queries and keys, before they are rotated. */
export type HeadNorm = 'attn_q_norm' | 'attn_k_norm';
/** Norms of what attention, feed-forward and a layer's own embeddings write, before it is added to the residual stream. */
export type PostNorm = 'post_attention_norm' | 'post_ffw_norm' | 'post_norm';
/** The norm of what each head of a delta net puts out. */
export type DeltaNorm = 'ssm_norm';
/** The factor of the residual stream that leaves a layer. */
export type StreamScale = 'layer_output_scale';
export type LayerNorm = InputNorm | HeadNorm | PostNorm | DeltaNorm | StreamScale;

/** A linear, which LoRA may adapt. */
export interface LinearRow {
  readonly name: LayerLinear;
  /** Its module in a layer of transformers' model, which PEFT adapts: `model.layers.<l>.<module>`. */
  readonly module: string;
  readonly inputs: Width;
  /** Several where linears that read the same stand below one another in one matrix. */
  readonly outputs: Width | readonly Width[];
  /**
   * GGUF has the rows of each head in another order than Hugging Face, whose rotation pairs dimension k of a head with k + headDim/2,
   * llama.cpp's 2k with 2k + 1 (conversion/llama.py, `permute`).
   */
  readonly interleaved?: 'heads' | 'kvHeads';
  /**
   * The last of its outputs, or its inputs, are values of a delta net's heads, which GGUF has in another order than Hugging Face: there
   * those that read by one key head stand side by side (conversion/qwen.py, _LinearAttentionVReorderBase).
   */
  readonly tiled?: 'outputs' | 'inputs';
  /** Published models have a bias there, or a file may hold one. */
  readonly bias?: 'usual' | 'possible';
  /** Of a layer's own embeddings, which a model may lack. */
  readonly ofOwn?: true;
  readonly only?: LayerKind | readonly LayerKind[];
}

export interface NormRow {
  readonly name: LayerNorm;
  /** Its name in the file, where that is another: `blk.<l>.<stored>.weight`. */
  readonly stored?: string;
  readonly module: string;
  readonly width: 'embedding' | 'headDim' | 'deltaHeadDim' | 'one';
  /** In the folder its name ends with the module's. */
  readonly bare?: true;
  /** A file may lack it. */
  readonly optional?: true;
  /** In the folder it is what it is here, where the family's other norms are less by a constant (`normShift`). */
  readonly unshifted?: true;
  readonly ofOwn?: true;
  readonly only?: LayerKind | readonly LayerKind[];
}

export type LayerRow = LinearRow | NormRow;

const isLinear = (row: LayerRow): row is LinearRow => 'inputs' in row;

/** The rows of a family's linears, in the order data flows through them. */
export const linearRows = ({ layer }: Family): LinearRow[] => layer.filter(isLinear);
export const normRows = ({ layer }: Family): NormRow[] => layer.filter((row): row is NormRow => !isLinear(row));

/** What is known of a model where its layers are gone through. */
export type Layered = Pick<Sizes, 'kinds' | 'perLayer'> & { readonly family: Family };

export const kindOf = ({ kinds }: Pick<Sizes, 'kinds'>, layer: number): LayerKind => kinds?.[layer] ?? 'attention';

/** The rows of one layer, in the order data flows through them. */
export function rowsAt(of: Layered, layer: number): LayerRow[] {
  const kind = kindOf(of, layer);
  return of.family.layer.filter(
    (row) => (row.only === undefined || [row.only].flat().includes(kind)) && (!row.ofOwn || of.perLayer),
  );
}
export const linearRowsAt = (of: Layered, layer: number): LinearRow[] => rowsAt(of, layer).filter(isLinear);
export const normRowsAt = (of: Layered, layer: number): NormRow[] =>
  rowsAt(of, layer).filter((row): row is NormRow => !isLinear(row));
/** The linears of one layer. */
export const linearsAt = (of: Layered, layer: number): LayerLinear[] => linearRowsAt(of, layer).map(({ name }) => name);

/** Linears that write to the residual stream. */
export type Writer = Mixer | 'ffn_down' | 'proj';
/** The one that writes what a layer has mixed of its tokens. */
export type Mixer = 'attn_output' | 'shortconv.out_proj' | 'ssm_out';
const mixers = {
  attention: 'attn_output',
  keysAlone: 'attn_output',
  sharedKeys: 'attn_output',
  convolution: 'shortconv.out_proj',
  delta: 'ssm_out',
} as const;
export const mixerAt = (of: Pick<Sizes, 'kinds'>, layer: number): Mixer => mixers[kindOf(of, layer)];

/** Inputs of that linear. */
export function mixedWidth(of: Sizes & { family: Family }, layer: number): number {
  return rowShape(sizesAt(of, layer), linearRow(of.family, mixerAt(of, layer)))[0];
}

/** Most values of a token that any layer has mixed. */
export function widestMixed(of: Sizes & { family: Family }): number {
  return Math.max(...Array.from({ length: of.layers }, (_, layer) => mixedWidth(of, layer)));
}

/** The linears that LoRA may adapt in a family, in the order data flows through them. */
export const linearsOf = (family: Family): LayerLinear[] => linearRows(family).map(({ name }) => name);

/** Those of all families, in that order. */
export const layerLinears: readonly LayerLinear[] = [
  'attn_q',
  'attn_k',
  'attn_v',
  'attn_qkv',
  'attn_output',
  'shortconv.in_proj',
  'shortconv.out_proj',
  'attn_gate',
  'ssm_beta',
  'ssm_alpha',
  'ssm_out',
  'ffn_gate',
  'ffn_up',
  'ffn_down',
  'inp_gate',
  'proj',
];

/** @throws RangeError for a linear that the family does not have */
export function linearRow(family: Family, linear: LayerLinear): LinearRow {
  const row = linearRows(family).find(({ name }) => name === linear);
  if (!row) throw new RangeError(`${family.title} has no ${linear}`);
  return row;
}

/** ggml-order shape [inputs, outputs] of a linear. */
export function rowShape(sizes: Sizes, { inputs, outputs }: LinearRow): [number, number] {
  return [widthOf(sizes, inputs), [outputs].flat().reduce((sum, width) => sum + widthOf(sizes, width), 0)];
}

/** The norm that stands between a linear and the residual stream, where the family has one. */
export function postNormOf(linear: Writer): PostNorm {
  if (linear === 'proj') return 'post_norm';
  return linear === 'ffn_down' ? 'post_ffw_norm' : 'post_attention_norm';
}

/** Whether layers norm what they write before it is added to the residual stream. */
export const hasPostNorms = (family: Family): boolean => normRows(family).some(({ name }) => name.startsWith('post_'));

interface UsualLayer {
  /** Rows of queries and keys stand head by head in another order than in Hugging Face's folder. */
  interleaved?: boolean;
  /** Of queries, keys and values. */
  biases?: LinearRow['bias'];
  /** Of all other linears. */
  moreBiases?: LinearRow['bias'];
  headNorms?: boolean;
}

/** The layer of Llama (Touvron et al. 2023), which most families have kept but for a few points. */
export function usualLayer(own: UsualLayer): LayerRow[] {
  const { interleaved, biases: bias, moreBiases } = own;
  const headNorms: LayerRow[] = [
    { name: 'attn_q_norm', module: 'self_attn.q_norm', width: 'headDim' },
    { name: 'attn_k_norm', module: 'self_attn.k_norm', width: 'headDim' },
  ];
  const heads = (which: LinearRow['interleaved']) => ({ bias, interleaved: interleaved ? which : undefined });
  const [from, to] = [{ inputs: 'embedding' }, { outputs: 'embedding', bias: moreBiases }] as const;
  const forward = { ...from, outputs: 'feedForward', bias: moreBiases } as const;
  return [
    { name: 'attn_norm', module: 'input_layernorm', width: 'embedding' },
    { name: 'attn_q', module: 'self_attn.q_proj', ...from, outputs: 'query', ...heads('heads') },
    { name: 'attn_k', module: 'self_attn.k_proj', ...from, outputs: 'keyValue', ...heads('kvHeads') },
    { name: 'attn_v', module: 'self_attn.v_proj', ...from, outputs: 'keyValue', bias },
    ...(own.headNorms ? headNorms : []),
    { name: 'attn_output', module: 'self_attn.o_proj', inputs: 'query', ...to },
    { name: 'ffn_norm', module: 'post_attention_layernorm', width: 'embedding' },
    { name: 'ffn_gate', module: 'mlp.gate_proj', ...forward },
    { name: 'ffn_up', module: 'mlp.up_proj', ...forward },
    { name: 'ffn_down', module: 'mlp.down_proj', inputs: 'feedForward', ...to },
  ];
}
