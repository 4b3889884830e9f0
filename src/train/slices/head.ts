import { openTensors } from '../../formats/gguf/Gguf.js';
import { Slice } from '../../model/slices/slice.js';
import type { Lab } from '../lab.js';

/** Tokens that the model reads; so many it predicts from. */
const read = 16;
/** Share of the logits' spread by which our head may differ: that of kernels that round to 8 bits otherwise. */
const tolerance = 0.1;

/**
 * Whether our own head (a norm by root mean square, one matrix) computes the logits that libllama computes from the last residual
 * stream: then labels can be followed, and likelihoods be told. Other models cap their logits, scale them, or subtract a mean.
 */
export async function hasOwnHead({ model, workspace, signal }: Omit<Lab, 'emit'>): Promise<boolean> {
  const { gguf, engine, hyper } = model;
  if (!gguf.tensors.has(model.normName)) return false;
  if (['output.bias', model.normName.replace('weight', 'bias')].some((name) => gguf.tensors.has(name))) return false;
  await using file = await openTensors(gguf);
  const source = { gguf, file, folder: engine.scratch, threads: engine.threads };
  const sizes = { contextLength: 2 * read, batchTokens: read, sequences: 1 };
  await using whole = await Slice.whole(source, hyper.layers, sizes);
  const tokens = Int32Array.from({ length: read }, (_, i) => (7919 * (i + 1)) % hyper.vocabulary);
  const { row, logits } = whole.predict(tokens);
  using head = await model.head();
  const g = workspace.begin();
  const own = g.output(head.logits(g, g.input('f32', [hyper.embedding, 1], row)));
  await g.compute(signal);
  const mine = own.toFloat32();
  const mean = (of: Float32Array) => of.reduce((sum, x) => sum + x, 0) / of.length;
  const spread = (of: Float32Array) => Math.sqrt(mean(of.map((x) => x * x)) - mean(of) ** 2);
  return spread(mine.map((x, i) => x - logits[i]!)) < tolerance * spread(logits);
}
