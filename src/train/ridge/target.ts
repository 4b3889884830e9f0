import type { Graph } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import { hasPostNorms, postNormOf } from '../../families/family.js';
import type { Layer, LayerLora } from '../../model/block.js';
import type { Factors, ModuleFactors } from '../../model/factors.js';
import { type Hyperparameters, linearShape } from '../../model/hyperparameters.js';
import type { Model } from '../../model/model.js';
import type { HiddenStates } from '../../model/walker.js';
import type { AnyPart, LearntPart, Part } from './examples.js';
import type { Gram } from './gram.js';
import type { LinearToSolve } from './solver.js';
import type { CorrectedLinear } from './walk.js';

/** Takes rows of inputs and wanted outputs in a graph; `computed` follows its computation, and may end it. */
export interface RowSink {
  add(graph: Graph, x: Tensor, y: Tensor): void;
  computed(): void | Promise<void>;
}

/** Residual streams at the predicting positions of each batch, f32 [embedding, rows]. */
export interface Residuals {
  read(batch: number): Promise<Float32Array>;
}

/** What a linear's correction is fitted to, and which rows count for what. */
export interface Fit {
  /** Where the rows of a part go; none for parts that are only measured. */
  sinkOf(part: AnyPart): RowSink | undefined;
  /**
   * Wanted outputs of the correction for the rows of a batch, [embedding, rows].
   * @param own computes the residual stream that the student has there without the correction
   */
  wanted(g: Graph, batch: number, rows: number, own: () => Tensor): Promise<Tensor>;
  /** Of a linear with something between it and the stream; what is wanted is then a change of the (measured) stream. */
  norm?: BehindNorm;
}

interface BehindNorm {
  /** See `outputWeights`. */
  weights: Float32Array;
  /** Corrections on top of which the wanted change comes, placed for our own graph, and as they are. */
  applied?: LayerLora;
  over?: readonly ModuleFactors[];
}

/**
 * Follow the teacher: what its residual stream has more than the student's.
 * @param metric of `streamMetric`, what the difference is multiplied by
 */
export function teacherFit(
  residual: Residuals,
  embedding: number,
  sinks: Record<LearntPart, RowSink>,
  metric?: Float32Array,
  norm?: BehindNorm,
): Fit {
  return {
    sinkOf: (part) => (part === 'heldout' ? undefined : sinks[part === 'general' ? 'train' : part]),
    wanted: async (g, batch, rows, own) => {
      const lacking = g.sub(g.input('f32', [embedding, rows], await residual.read(batch)), own());
      return metric ? g.mul(lacking, g.input('f32', [embedding], metric)) : lacking;
    },
    norm,
  };
}

/** How one linear of a layer is made to follow the teacher: what is to be solved, and how its rows come about. */
export interface Following {
  linear: LinearToSolve;
  fit(sinks: Record<LearntPart, RowSink>): Fit;
}

/** @param metric of `streamMetric` */
export function followTeacher(
  model: Model,
  layer: Layer,
  module: CorrectedLinear,
  teacher: Pick<Followed, 'middle' | 'out'>,
  metric: Float32Array | undefined,
): Following {
  const residual = module === 'ffn_down' ? teacher.out : teacher.middle;
  const [inputs, outputs] = linearShape(model.hyper, module, layer.index);
  const weights = outputWeights(model.hyper, layer, module, metric);
  return {
    linear: { layer: layer.index, module, inputs, outputs, weights },
    fit: (sinks) => teacherFit(residual, outputs, sinks, metric, weights && { weights }),
  };
}

/**
 * Follow the labels; of general examples nothing is wanted.
 * @param gradient of their log-likelihood at the last residual stream, zero for general examples
 * @param carryBack takes it from there, [embedding, rows], to where the linear writes
 */
export function labelFit(
  gradient: HiddenStates,
  embedding: number,
  carryBack: (g: Graph, gradient: Tensor) => Tensor,
  gram: Gram,
  norm?: BehindNorm,
): Fit {
  return {
    sinkOf: (part) => (part === 'train' || part === 'general' ? gram : undefined),
    wanted: async (g, batch, rows) => carryBack(g, g.input('f32', [embedding, rows], await gradient.read(batch))),
    norm,
  };
}

/** Takes no rows: the layer is only walked. */
export const noFit: Fit = {
  sinkOf: () => undefined,
  wanted: () => Promise.reject(new Error('no rows are taken, so none are wanted')),
};

/** Weights are held above this share of their root mean square: a smaller one would let noise of its output through enlarged. */
const scaleFloor = 0.01;

/**
 * In a family whose layers norm what they write, the dimensions of the residual stream have sizes orders of magnitude apart, and the
 * norms that read it undo that. There changes of the stream are measured as the last norm sees them: times its weights (docs/families.md).
 * @returns a positive factor for each dimension of the stream; undefined if it counts as it is
 */
export async function streamMetric(model: Model): Promise<Float32Array | undefined> {
  if (!hasPostNorms(model.hyper.family)) return undefined;
  return raised((await model.vector(model.normName)).map(Math.abs));
}

/** Whether linears reach the residual stream by way of a norm or a factor: `outputWeights` has what stands between. */
export const isWeighted = ({ family, residualScale }: Hyperparameters): boolean =>
  hasPostNorms(family) || residualScale !== 1;

/**
 * Factor of each output of a linear, signed, between it and the residual stream; with a norm behind it, between its normed value and the
 * measured stream. Undefined if outputs are added to the stream as they are.
 */
export function outputWeights(
  { embedding, residualScale }: Hyperparameters,
  layer: Layer,
  module: CorrectedLinear,
  metric: Float32Array | undefined,
): Float32Array | undefined {
  const norm = layer.norms[postNormOf(module)];
  if (!norm) return residualScale === 1 ? undefined : new Float32Array(embedding).fill(residualScale);
  return raised(norm.toFloat32().map((w, i) => w * residualScale * (metric?.[i] ?? 1)));
}

/** Weights, none of which is near zero. */
export function raised(weights: Float32Array): Float32Array {
  const rms = Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0) / weights.length);
  const least = Math.max(scaleFloor * rms, Number.MIN_VALUE);
  return weights.map((w) => (w < 0 ? Math.min(w, -least) : Math.max(w, least)));
}

/**
 * Carries a wanted change of the residual stream back through the norm behind a linear. The linear's output z reaches the (measured)
 * stream as m ⊙ z/r, r = rms(z). To first order a change δz moves that by m ⊙ δẑ, δẑ = δz/r less its part along ẑ = z/r, which the
 * norm takes away. So the nearest change that the linear can make is
 *
 *   y' = y - n·(n·y)/(n·n),   n = ẑ/m,
 *
 * and a correction ΔW makes it if m ⊙ (ΔW·x)/r = y': least squares of y' on x/r, whose solution divided by m, output by output, is ΔW
 * (`unweighted`). Rows so count by what they do to the stream, whatever the size of their z.
 * @param rows x: inputs of the linear [inputs, rows]; z: its outputs [outputs, rows]; y: wanted change of the measured stream
 *   [outputs, rows]
 * @param weights m, of `outputWeights`
 * @param epsilon of the norm
 */
export function throughNorm(
  g: Graph,
  { x, z, y }: { x: Tensor; z: Tensor; y: Tensor },
  weights: Float32Array,
  epsilon: number,
): { x: Tensor; y: Tensor } {
  const outputs = weights.length;
  const meanSquare = g.scale(g.sumRows(g.sqr(z)), 1 / outputs);
  const size = g.sqrt(g.add(meanSquare, g.input('f32', [1], Float32Array.of(epsilon)))); // [1, rows]
  const n = g.div(g.div(z, size), g.input('f32', [outputs], weights));
  const along = g.div(g.sumRows(g.mul(n, y)), g.sumRows(g.sqr(n))); // [1, rows]
  return { x: g.div(x, size), y: g.sub(y, g.mul(n, along)) };
}

/** Factors that make changes of the stream -> factors of the linear. */
export function unweighted(factors: Factors, weights: Float32Array | undefined): Factors {
  return weights ? scaleOutputs(factors, (o) => 1 / weights[o]!) : factors;
}

/** Factors of the linear -> factors that make changes of the stream. */
export function weighted(factors: Factors, weights: Float32Array | undefined): Factors {
  return weights ? scaleOutputs(factors, (o) => weights[o]!) : factors;
}

function scaleOutputs(factors: Factors, scale: (output: number) => number): Factors {
  const { rank } = factors;
  return { ...factors, b: factors.b.map((value, i) => value * scale(Math.floor(i / rank))) };
}

/** Whom the student follows: a teacher that walks beside it, or what one has left in a file. */
export interface Followed extends AsyncDisposable {
  /** Tokens that it walks through each layer. */
  readonly tokens: number;
  /** Takes it through a layer; for every layer in order, before the student goes there. */
  advance(layer: Layer): Promise<void>;
  /** Its residual streams in the layer it was taken through last: after attention, and after the block. */
  readonly middle: Residuals;
  readonly out: Residuals;
  /** Mean NLL, nats per token, after the last layer. */
  nll(): Promise<Record<Part, number>>;
}
