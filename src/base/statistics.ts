import { Random } from './random.js';

/** How far figures of a sample may be from those of everything: 95 % confidence intervals. */

export interface Estimate {
  mean: number;
  /** Bounds of the 95 % confidence interval. */
  low: number;
  high: number;
}

/** The two-sided 95 % point of the standard normal distribution. */
const z = 1.959963984540054;

/** A share of successes with Wilson's score interval (Wilson 1927), which also holds for few trials and for shares of 0 and 1. */
export function share(successes: number, trials: number): Estimate {
  const p = successes / trials;
  const middle = (p + (z * z) / (2 * trials)) / (1 + (z * z) / trials);
  const half = (z / (1 + (z * z) / trials)) * Math.sqrt((p * (1 - p)) / trials + (z * z) / (4 * trials * trials));
  // At 0 and 1 a bound is the share itself, but for rounding.
  return {
    mean: p,
    low: successes === 0 ? 0 : Math.max(0, middle - half),
    high: successes === trials ? 1 : Math.min(1, middle + half),
  };
}

/** How two runs over the same trials agree. */
export interface Paired {
  both: number;
  /** Successes of the second run only. */
  gained: number;
  /** Successes of the first run only. */
  lost: number;
  neither: number;
}

/** Second share less the first, over the same trials: the hybrid score interval for paired data (Newcombe 1998, method 10). */
export function pairedDifference({ both, gained, lost, neither }: Paired): Estimate {
  const trials = both + gained + lost + neither;
  const first = share(both + lost, trials);
  const second = share(both + gained, trials);
  const product = (both + lost) * (gained + neither) * (both + gained) * (lost + neither);
  const agreement = both * neither - gained * lost;
  // Newcombe's correction for continuity, of a positive correlation only.
  const corrected = agreement > 0 ? Math.max(0, agreement - trials / 2) : agreement;
  const correlation = product === 0 ? 0 : corrected / Math.sqrt(product);
  const reach = (a: number, b: number) => Math.sqrt(Math.max(0, a * a - 2 * correlation * a * b + b * b));
  const mean = (gained - lost) / trials;
  return {
    mean,
    low: Math.max(-1, mean - reach(second.mean - second.low, first.high - first.mean)),
    high: Math.min(1, mean + reach(second.high - second.mean, first.mean - first.low)),
  };
}

const RESAMPLES = 2000;
/** Random stream of the resampling. */
const STREAM = 0xb007;

/** A mean of any values with its percentile bootstrap interval (Efron 1979), from resamples that are the same each time. */
export function bootstrapMean(values: readonly number[]): Estimate {
  const random = new Random(1, STREAM);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const means = new Float64Array(RESAMPLES);
  for (let i = 0; i < RESAMPLES; i++) {
    let sum = 0;
    for (let j = 0; j < values.length; j++) sum += values[random.below(values.length)]!;
    means[i] = sum / values.length;
  }
  means.sort();
  return { mean, low: means[Math.floor(0.025 * RESAMPLES)]!, high: means[Math.ceil(0.975 * RESAMPLES) - 1]! };
}
