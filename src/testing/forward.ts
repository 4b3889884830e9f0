import type { Graph, Workspace } from '../engine/graph.js';
import type { Tensor } from '../engine/tensor.js';
import { type Batch, batchInputs, paddedTokens } from '../model/batch.js';
import { type Layer, LayerGraph, type LayerLora } from '../model/block.js';
import type { Model } from '../model/model.js';

/** Nodes of a graph that spans the whole model: a layer takes about 60, twice that with LoRA everywhere. */
export function forwardNodes(model: Model): number {
  return 256 + 128 * model.hyper.layers;
}

/**
 * Builds the whole forward pass of a batch: the residual stream after the last layer, [embedding, N], or of the tokens in `rows` only.
 */
export function forward(
  graph: Graph,
  model: Model,
  layers: readonly Layer[],
  batch: Batch,
  sequences: readonly ArrayLike<number>[],
  lora: readonly LayerLora[] = [],
  rows?: Int32Array,
): Tensor {
  const tokens = paddedTokens(batch, (member) => sequences[member]!);
  const ids = graph.input('i32', [tokens.length], tokens);
  const inputs = batchInputs(graph, batch, ids, model.ropeFactors);
  let x = model.embed(graph, ids);
  const wanted = rows && graph.input('i32', [rows.length], rows);
  for (const [l, layer] of layers.entries()) {
    const last = l === layers.length - 1;
    const at = new LayerGraph(graph, model.hyper, layer, lora[l]);
    x = at.run(x, inputs, last ? wanted : undefined);
    if (last) x = at.stream(x);
  }
  return x;
}

/** Logits of every token of one sequence: [tokens · vocabulary], row by row. For tests and comparisons; weights are loaded each time. */
export async function sequenceLogits(
  model: Model,
  workspace: Workspace,
  tokens: Int32Array,
  lora: readonly LayerLora[] = [],
): Promise<Float32Array> {
  const layers = await model.allLayers();
  using head = await model.head();
  try {
    const g = workspace.begin();
    const batch = { members: [0], length: tokens.length, lengths: [tokens.length] };
    const x = forward(g, model, layers, batch, [tokens], lora);
    const logits = g.output(head.logits(g, x));
    await g.compute();
    return logits.toFloat32();
  } finally {
    for (const layer of layers) layer[Symbol.dispose]();
  }
}
