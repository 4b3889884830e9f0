import { LoamError, throwIfStopped } from '../base/errors.js';
import { sharedLength } from '../base/format.js';
import { LlamaModel } from '../engine/llama.js';

/** A token sequence with the positions of the tokens whose likelihood counts. */
export interface ScoredSequence {
  tokens: Int32Array;
  /** Positions of the scored tokens, ascending, none of them 0. */
  targets: Int32Array;
}

export interface NllResult {
  /** Scored tokens. */
  tokens: number;
  /** Mean negative log-likelihood in nats a token. */
  base: number;
  /** The same with the adapter; undefined without one. */
  adapted?: number;
}

/** Tokens of context beyond the longest sequence: libllama rounds its cache up anyway. */
const contextMargin = 16;

/**
 * Measures sequences in stock libllama, the bare base and the adapter file: what other programs will see, not what our own graph
 * computes. The files must have passed `readGguf` and `readAdapter`.
 * @throws LoamError when a likelihood is not a finite number
 */
export async function measureNll(
  modelPath: string,
  adapterPath: string | undefined,
  sequences: readonly ScoredSequence[],
  options: { threads?: number; onProgress?: (done: number, total: number) => void; signal?: AbortSignal } = {},
): Promise<NllResult> {
  // In place: the measuring must not need more memory than the tuning before it.
  using model = await LlamaModel.load(modelPath, { inPlace: true });
  const longest = sequences.reduce((max, { tokens }) => Math.max(max, tokens.length), 0);
  const context = await model.context({ contextLength: longest + contextMargin, threads: options.threads });
  const adapter = adapterPath === undefined ? undefined : await model.loadAdapter(adapterPath);
  const vocabulary = model.vocabulary.size;
  const passes = adapter === undefined ? 1 : 2;
  const means: number[] = [];
  const tokens = sequences.reduce((sum, { targets }) => sum + targets.length, 0);
  let done = 0;
  for (let pass = 0; pass < passes; pass++) {
    context.setAdapters(pass === 1 ? [{ adapter: adapter!, scale: 1 }] : []);
    let sum = 0;
    let read: Int32Array = new Int32Array();
    for (const sequence of sequences) {
      throwIfStopped(options.signal);
      // What a template puts before every question was read already; the token before the first scored one is read again.
      const shared = Math.min(sharedLength(read, sequence.tokens), sequence.targets[0]! - 1);
      const start = context.truncate(shared) ? shared : 0;
      read = sequence.tokens;
      const predicted = new Set(Array.from(sequence.targets, (position) => position - 1 - start));
      await context.decode(sequence.tokens.subarray(start), start, {
        wants: (index) => predicted.has(index),
        onLogits: (logits, indices) => {
          indices.forEach((index, row) => {
            const at = row * vocabulary;
            sum += negativeLogLikelihood(logits.subarray(at, at + vocabulary), sequence.tokens[start + index + 1]!);
          });
        },
        signal: options.signal,
      });
      options.onProgress?.(++done, passes * sequences.length);
    }
    if (!Number.isFinite(sum)) {
      throw new LoamError({
        found: `${pass === 1 ? 'with this adapter' : 'in this model'} the likelihoods are not finite numbers`,
        where: pass === 1 ? adapterPath : modelPath,
        fix: pass === 1 ? 'use another adapter' : 'fetch the model again, or use another',
      });
    }
    means.push(sum / tokens);
  }
  return { tokens, base: means[0]!, adapted: means[1] };
}

/** -log softmax(logits)[token], in nats, computed without overflow. */
export function negativeLogLikelihood(logits: Float32Array, token: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum) - logits[token]!;
}
