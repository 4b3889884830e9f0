import type { Graph } from '../ggml/graph.js';
import type { Tensor } from '../ggml/tensor.js';
import type { LayerLora } from '../model/block.js';
import type { HiddenStates } from '../model/hiddenStates.js';
import type { LearntPart, Part } from './examples.js';
import type { Gram } from './gram.js';

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
  sinkOf(part: Part): RowSink | undefined;
  /**
   * Wanted outputs of the correction for the rows of a batch, [embedding, rows].
   * @param own computes the residual stream that the student has there without the correction
   */
  wanted(g: Graph, batch: number, rows: number, own: () => Tensor): Promise<Tensor>;
  /** Of a linear with a norm behind it; what is wanted is then a change of the measured stream (`throughNorm`). */
  norm?: BehindNorm;
}

export interface BehindNorm {
  /** See `outputWeights`. */
  weights: Float32Array;
  /** Corrections on top of which the wanted change comes. */
  worn?: LayerLora;
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
    sinkOf: (part) => (part === 'heldout' ? undefined : sinks[part]),
    wanted: async (g, batch, rows, own) => {
      const lacking = g.sub(g.input('f32', [embedding, rows], await residual.read(batch)), own());
      return metric ? g.mul(lacking, g.input('f32', [embedding], metric)) : lacking;
    },
    norm,
  };
}

/**
 * Follow the labels.
 * @param gradient of their log-likelihood at the last residual stream
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
    sinkOf: (part) => (part === 'train' ? gram : undefined),
    wanted: async (g, batch, rows) => carryBack(g, g.input('f32', [embedding, rows], await gradient.read(batch))),
    norm,
  };
}

/** Takes no rows: the layer is only walked. */
export const noFit: Fit = {
  sinkOf: () => undefined,
  wanted: () => Promise.reject(new Error('no rows are taken, so none are wanted')),
};
