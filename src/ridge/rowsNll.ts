import type { Workspace } from '../ggml/workspace.js';
import { type Head, headChunk, type Model } from '../model/model.js';
import type { Walker } from '../model/walker.js';
import type { RidgeExample } from './examples.js';

/** Residual streams of a batch at the positions of interest, [embedding, rows], with the tokens to be predicted there. */
export async function predictingRows(
  model: Model,
  walker: Walker,
  index: number,
  examples: readonly RidgeExample[],
): Promise<{ rows: Float32Array; targets: Int32Array }> {
  const width = model.hyper.embedding;
  const { batch, rows: indices } = walker.batches[index]!;
  const hidden = await walker.hidden.read(index);
  const rows = new Float32Array(indices.length * width);
  indices.forEach((token, i) => {
    rows.set(hidden.subarray(token * width, (token + 1) * width), i * width);
  });
  return { rows, targets: Int32Array.from(batch.members.flatMap((member) => [...examples[member]!.targets])) };
}

/**
 * Mean NLL in nats a token of the examples of one part, from residual streams that have walked through all layers; NaN where there
 * are none. The head is computed at the predicting positions only.
 */
export async function walkedNll(
  model: Model,
  workspace: Workspace,
  head: Head,
  walker: Walker,
  examples: readonly RidgeExample[],
  part: RidgeExample['part'],
  signal?: AbortSignal,
): Promise<number> {
  let sum = 0;
  let tokens = 0;
  for (const { index, batch } of walker.batches) {
    if (examples[batch.members[0]!]!.part !== part) continue;
    const { rows, targets } = await predictingRows(model, walker, index, examples);
    for (const value of await rowsNll(model, workspace, head, rows, targets, signal)) sum += value;
    tokens += targets.length;
  }
  return tokens > 0 ? sum / tokens : Number.NaN;
}

/** -log p(target) in nats for residual streams after the last layer, [embedding, n] -> one value a row. */
export async function rowsNll(
  model: Model,
  workspace: Workspace,
  head: Head,
  rows: Float32Array,
  targets: Int32Array,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { embedding, vocabulary } = model.hyper;
  const out = new Float32Array(targets.length);
  const chunk = headChunk(vocabulary);
  for (let from = 0; from < targets.length; from += chunk) {
    const n = Math.min(chunk, targets.length - from);
    const g = workspace.begin();
    const logits = head.logits(
      g,
      g.input('f32', [embedding, n], rows.subarray(from * embedding, (from + n) * embedding)),
    );
    const labels = g.input('i32', [n], targets.slice(from, from + n));
    const nll = g.output(head.nll(g, logits, g.softMax(logits, null, 1), labels));
    await g.compute(signal);
    nll.read(out.subarray(from, from + n));
  }
  return out;
}
