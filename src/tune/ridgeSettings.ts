import type { RidgeSettings } from '../ridge/settings.js';
import type { TuneOptions } from './options.js';

/** Candidates for λ, tried on validation rows layer by layer; the first is used where there are none. */
const lambdas = [0.3, 0.1, 1];
/** Layers from this share of the depth on follow the labels. */
const sweepShare = 0.8;

/** Defaults of ridge where it is all there is. */
export const ridgePreset = { rank: 64, shots: 32, sweeps: 3 } as const;
export type RidgePreset = { rank: number; shots: number; sweeps: number };

/** The settings of the fit, with the defaults filled in. */
export function ridgeSettings(
  layers: number,
  options: Pick<TuneOptions, 'rank' | 'lambda' | 'layers' | 'sweeps'>,
  preset: Pick<RidgePreset, 'rank' | 'sweeps'>,
): RidgeSettings {
  const firstLayer = firstAdapted(options.layers, layers, Math.ceil(layers / 2));
  return {
    rank: options.rank ?? preset.rank,
    lambdas: options.lambda === undefined ? lambdas : [options.lambda],
    firstLayer,
    sweeps: options.sweeps ?? preset.sweeps,
    firstSweepLayer: Math.max(firstLayer, Math.floor(sweepShare * layers)),
  };
}

/** First adapted layer; `fallback` of the upper ones where nothing was chosen. */
export function firstAdapted(choice: TuneOptions['layers'], layers: number, fallback: number): number {
  if (choice === 'all') return 0;
  return Math.max(0, layers - (choice?.top ?? fallback));
}
