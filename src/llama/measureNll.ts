import { type MeasuringOptions, type ScoredSequence, Yardstick } from './Yardstick.js';

export interface NllResult {
  /** Scored tokens. */
  tokens: number;
  /** Mean negative log-likelihood in nats per token. */
  base: number;
  /** The same with the adapter; undefined without one. */
  adapted?: number;
}

/**
 * Measures sequences in stock libllama, the base model alone and with the adapter file (see `Yardstick`). The files must have passed
 * `readGguf` and `openAdapter`.
 * @throws LoamError when a likelihood is not a finite number
 */
export async function measureNll(
  modelPath: string,
  adapterPath: string | undefined,
  sequences: readonly ScoredSequence[],
  options: MeasuringOptions & { threads?: number } = {},
): Promise<NllResult> {
  using yardstick = await Yardstick.open(modelPath, adapterPath, sequences, options.threads);
  return await nllOf(yardstick, sequences, options);
}

/** The same with a model that is open for it. */
export async function nllOf(
  yardstick: Yardstick,
  sequences: readonly ScoredSequence[],
  { signal, onProgress }: MeasuringOptions = {},
): Promise<NllResult> {
  const tokens = sequences.reduce((sum, { targets }) => sum + targets.length, 0);
  const { sides } = yardstick;
  const means: number[] = [];
  for (const [pass, side] of sides.entries()) {
    const scores = await yardstick.scores(sequences, side, {
      signal,
      onProgress: (done, total) => onProgress?.(pass * total + done, sides.length * total),
    });
    means.push(scores.reduce((sum, score) => sum + score, 0) / tokens);
  }
  return { tokens, base: means[0]!, adapted: means[1] };
}
