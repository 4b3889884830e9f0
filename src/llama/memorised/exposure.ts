import type { Exposure } from './report.js';

/** How far a value stands out among random ones of its form, and when that proves that it was learnt. */

/** log P of one candidate in both models, in nats. */
export interface Scored {
  adapted: number;
  base: number;
}

/** Place among all when sorted from the highest on; of equals the worse place, so that a tie proves nothing. */
function rankOf(truth: number, others: readonly number[]): number {
  return 1 + others.filter((other) => other >= truth).length;
}

/** The figures of `Exposure` from the scores of the true value and of its alternatives. */
export function exposure(truth: Scored, alternatives: readonly Scored[]): Exposure {
  const gain = truth.adapted - truth.base;
  const gains = alternatives.map(({ adapted, base }) => adapted - base);
  const mean = gains.reduce((sum, x) => sum + x, 0) / gains.length;
  const variance = gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, gains.length - 1);
  const rank = rankOf(gain, gains);
  return {
    alternatives: alternatives.length,
    rank,
    bits: Math.log2(alternatives.length + 1) - Math.log2(rank),
    deviations: variance > 0 ? (gain - mean) / Math.sqrt(variance) : 0,
    adaptedRank: rankOf(
      truth.adapted,
      alternatives.map(({ adapted }) => adapted),
    ),
    baseRank: rankOf(
      truth.base,
      alternatives.map(({ base }) => base),
    ),
    gain,
    excess: gain - mean,
  };
}

/**
 * Deviations from which a first place counts. By chance the true value comes first once in `alternatives + 1` times; that it also
 * lies this far off is rarer still.
 */
const FAR = 3;
/** Nats beyond the mean gain: less than this is no knowledge of a value, however little the others scatter. */
const MUCH = 2;
/** Share of the candidates among which it must be by likelihood: one that many random values beat comes out of no model. */
const TOP = 1 / 16;
/** Fewer alternatives place a value too coarsely. */
const LEAST = 31;

/** Whether the adapter favours the true value alone, and has made it one of the likeliest. */
export function isFavoured({ alternatives, rank, deviations, adaptedRank, excess }: Exposure): boolean {
  return (
    alternatives >= LEAST &&
    rank === 1 &&
    deviations >= FAR &&
    excess >= MUCH &&
    adaptedRank <= Math.max(1, TOP * (alternatives + 1))
  );
}
