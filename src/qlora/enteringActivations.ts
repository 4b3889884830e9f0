import { toHalf } from '../ggml/halfRows.js';
import type { Workspace } from '../ggml/workspace.js';
import { type Batch, groupSequences, tokenIndex } from '../model/batch.js';
import { eachLayer } from '../model/eachLayer.js';
import { HiddenStates } from '../model/hiddenStates.js';
import type { Model } from '../model/model.js';
import { sharedBlock, streamInputs } from '../model/sharedOpening.js';
import { ActivationCache } from './activationCache.js';
import { ownLengths, type TrainSequence } from './trainStep.js';

/**
 * Walks all sequences through the layers below `firstLayer`, which training does not change, and keeps what comes out, divided by
 * the model's `embeddingScale`.
 * @param opening tokens that all sequences begin with
 * @param onBatch tokens that have passed one layer
 */
export async function enteringActivations(
  model: Model,
  workspace: Workspace,
  sequences: readonly TrainSequence[],
  { firstLayer, opening }: { firstLayer: number; opening: number },
  onBatch: (tokens: number) => void,
  signal?: AbortSignal,
): Promise<ActivationCache> {
  const { embedding } = model.hyper;
  const lengths = ownLengths(sequences, opening);
  const groups = groupSequences(lengths);
  const tokensOf = ({ length, members }: Batch) => length * members.length;
  await using hidden = await HiddenStates.create(groups.map((batch) => embedding * tokensOf(batch)));
  let shared: Float32Array | undefined;

  const embed = async (tokens: Int32Array) => {
    const g = workspace.begin();
    const x = g.output(model.embed(g, g.input('i32', [tokens.length], tokens)));
    await g.compute(signal);
    return x.toFloat32();
  };
  if (opening > 0) shared = await embed(sequences[0]!.tokens.slice(0, opening));
  for (const [index, batch] of groups.entries()) {
    const tokens = new Int32Array(tokensOf(batch));
    batch.members.forEach((member, row) => {
      tokens.set(sequences[member]!.tokens.subarray(opening), row * batch.length);
    });
    await hidden.write(index, await embed(tokens));
  }

  const walk = async (layer: Parameters<Parameters<typeof eachLayer>[2]>[0]) => {
    let after: Float32Array | undefined;
    for (const [index, batch] of groups.entries()) {
      const g = workspace.begin();
      const own = g.input('f32', [embedding, tokensOf(batch)], await hidden.read(index));
      const x = shared ? g.concat(own, g.input('f32', [embedding, opening], shared), 1) : own;
      const inputs = streamInputs(g, batch, opening, model.ropeFactors);
      const out = g.output(sharedBlock(g, model.hyper, layer, x, inputs));
      await g.compute(signal);
      const values = out.toFloat32();
      await hidden.write(index, values.subarray(0, own.elements));
      // The same in every batch.
      if (shared) after ??= values.slice(own.elements);
      onBatch(tokensOf(batch));
    }
    shared = after;
  };
  await eachLayer(model, 0, walk, firstLayer);

  const cache = await ActivationCache.create(lengths, embedding);
  // As large as embeddings make them, streams exceed what f16 holds.
  const { embeddingScale } = model.hyper;
  const half = (stream: Float32Array) => toHalf(embeddingScale === 1 ? stream : stream.map((x) => x / embeddingScale));
  try {
    if (shared) cache.setOpening(half(shared));
    for (const [index, batch] of groups.entries()) {
      const states = await hidden.read(index);
      for (const [row, member] of batch.members.entries()) {
        const from = tokenIndex(batch, row, 0) * embedding;
        await cache.write(member, half(states.subarray(from, from + lengths[member]! * embedding)));
      }
    }
    return cache;
  } catch (error) {
    await cache[Symbol.asyncDispose]();
    throw error;
  }
}
