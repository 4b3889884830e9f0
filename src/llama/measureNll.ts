import { LoamError, throwIfStopped } from '../base/errors.js';
import { Session } from './Session.js';

/** A token sequence with the positions of the tokens whose likelihood counts. */
export interface ScoredSequence {
  tokens: Int32Array;
  /** Positions of the scored tokens, ascending, none of them 0. */
  targets: Int32Array;
}

export interface NllResult {
  /** Scored tokens. */
  tokens: number;
  /** Mean negative log-likelihood in nats per token. */
  base: number;
  /** The same with the adapter; undefined without one. */
  adapted?: number;
}

/** Tokens of context beyond the longest sequence: libllama rounds its cache up anyway. */
const contextMargin = 16;

/**
 * Measures sequences in stock libllama, the base model alone and with the adapter file: what other programs will see, not what our own graph
 * computes. The files must have passed `readGguf` and `openAdapter`.
 * @throws LoamError when a likelihood is not a finite number
 */
export async function measureNll(
  modelPath: string,
  adapterPath: string | undefined,
  sequences: readonly ScoredSequence[],
  options: { threads?: number; onProgress?: (done: number, total: number) => void; signal?: AbortSignal } = {},
): Promise<NllResult> {
  const longest = sequences.reduce((max, { tokens }) => Math.max(max, tokens.length), 0);
  const { threads, signal } = options;
  // In place: the measuring must not need more memory than the tuning before it.
  using session = await Session.open(modelPath, { contextLength: longest + contextMargin, threads, inPlace: true });
  const adapter = adapterPath === undefined ? undefined : await session.loadAdapter(adapterPath);
  const passes = adapter === undefined ? 1 : 2;
  const means: number[] = [];
  const tokens = sequences.reduce((sum, { targets }) => sum + targets.length, 0);
  let done = 0;
  for (let pass = 0; pass < passes; pass++) {
    session.wear(pass === 1 ? adapter : undefined);
    let sum = 0;
    for (const { tokens, targets } of sequences) {
      throwIfStopped(signal);
      const predicting = Array.from(targets, (position) => position - 1);
      await session.read(tokens, predicting, {
        onLogits: (logits, position) => {
          sum += negativeLogLikelihood(logits, tokens[position + 1]!);
        },
        signal,
      });
      options.onProgress?.(++done, passes * sequences.length);
    }
    if (pass === 0) requireFinite(sum, modelPath, 'model');
    else requireFinite(sum, adapterPath!, 'adapter');
    means.push(sum / tokens);
  }
  return { tokens, base: means[0]!, adapted: means[1] };
}

/** @throws LoamError for a sum of likelihoods that is no number @param where the file of the model or the adapter that is to blame */
export function requireFinite(sum: number, where: string, what: 'model' | 'adapter'): void {
  if (Number.isFinite(sum)) return;
  throw new LoamError({
    code: 'damaged',
    found: `${what === 'adapter' ? 'with this adapter' : 'in this model'} the likelihoods are not finite numbers`,
    where,
    fix: what === 'adapter' ? 'use another adapter' : 'fetch the model again, or use another',
  });
}

/** -log softmax(logits)[token], in nats. */
export function negativeLogLikelihood(logits: Float32Array, token: number): number {
  return logSumExp(logits) - logits[token]!;
}

/** log Σ exp, computed without overflow. */
export function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}
