import type { Operations } from '../engine/operations.js';
import type { Tensor } from '../engine/tensor.js';
import { rowBytes } from '../engine/tensorTypes.js';
import type { Hyperparameters } from './hyperparameters.js';
import type { Weights } from './weights.js';

/** The embeddings that each layer has of its own for every token (Gemma 4 E2B, E4B; llama.cpp, src/models/gemma4.cpp, build_inp_per_layer). */

export const perLayerTensors = {
  table: 'per_layer_token_embd',
  projection: 'per_layer_model_proj',
  norm: 'per_layer_proj_norm',
} as const;

/** All layers' weights of them. Rows of the table are read where it lies, and no more of it than those of a batch's tokens. */
export interface PerLayerWeights {
  /** [perLayer · layers, vocabulary] */
  table: Tensor;
  /** [embedding, perLayer · layers] */
  projection: Tensor;
  /** f32 [perLayer] */
  norm: Tensor;
}

/** @param plain places a tensor in its plain layout, mapped where possible */
export async function loadPerLayer(
  plain: (name: string) => Promise<Tensor>,
  weights: Pick<Weights, 'scatter'>,
): Promise<PerLayerWeights> {
  const { table, projection, norm } = perLayerTensors;
  weights.scatter(`${table}.weight`);
  const of = (name: string) => plain(`${name}.weight`);
  return { table: await of(table), projection: await of(projection), norm: await of(norm) };
}

/** One layer's: its rows for tokens i32 [n], [perLayer, n]. They follow from the tokens alone. */
export type OwnEmbeddings = (ops: Operations, tokens: Tensor) => Tensor;

/** @param embed what enters the first layer, [embedding, n] */
export function ownEmbeddings(
  { table, projection, norm }: PerLayerWeights,
  { perLayer: width = 0, embedding, normEpsilon }: Hyperparameters,
  layer: number,
  embed: (ops: Operations, tokens: Tensor) => Tensor,
): OwnEmbeddings {
  return (ops, tokens) => {
    const stream = ops.once(tokens, 'embedded', () => embed(ops, tokens));
    const read = ops.mulMat(ops.rowsOf(projection, layer * width, width), stream);
    const projected = ops.mul(ops.rmsNorm(ops.scale(read, 1 / Math.sqrt(embedding)), normEpsilon), norm);
    const rows = ops.view(table, [width, table.ne[1]], { offset: rowBytes(table.type, layer * width) });
    const looked = ops.scale(ops.getRows(rows, tokens), Math.sqrt(width));
    return ops.scale(ops.add(projected, looked), Math.SQRT1_2);
  };
}
