import { UsageError } from '../base/errors.js';
import { type LayerLinear, linearsAt, linearsOf } from '../families/family.js';
import type { Hyperparameters } from '../model/hyperparameters.js';
import type { TuneOptions } from './options.js';
import { type QloraSettings, qloraOptionNames } from './qlora/state.js';
import type { RidgeSettings } from './ridge/solver.js';

/** Candidates for λ, tried on validation rows layer by layer; the first is used if there are none. */
const lambdas = [0.3, 0.1, 1];
/** Layers from this share of the depth on follow the labels. */
const sweepShare = 0.8;

/** Defaults of a method: what the user chose goes first. */
export interface RidgePreset {
  rank: number;
  shots: number;
  sweeps: number;
}
/** Where ridge is all there is. */
export const ridgePreset: RidgePreset = { rank: 64, shots: 32, sweeps: 3 };
/** Where gradients follow: then ridge need not follow the labels itself. */
export const autoPreset: RidgePreset = { rank: 16, shots: 16, sweeps: 0 };

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

/** What ridge's defaults became: a part of an adapter's recipe. */
export type RidgeRecipe = ReturnType<typeof ridgeRecipe>;

/** @param sweeps that were kept @param shots of each prefix */
export function ridgeRecipe(
  layers: number,
  { firstLayer, firstSweepLayer }: RidgeSettings,
  sweeps: number,
  shots: readonly (readonly number[])[],
) {
  return { layers: { top: layers - firstLayer }, sweeps, firstSweepLayer, shots: shots.map(({ length }) => length) };
}

/** First adapted layer; the upper `fallback` ones if nothing was chosen. */
export function firstAdapted(choice: TuneOptions['layers'], layers: number, fallback: number): number {
  if (choice === 'all') return 0;
  return Math.max(0, layers - (choice?.top ?? fallback));
}

/** Peak learning rate of A from nothing (B's is `loraPlus` times it); known factors want half of it. */
const learningRate = { fresh: 1.4e-3, known: 7e-4 } as const;
const defaultRank = 16;
/** Rank of a mean of runs, as a multiple of each one's. */
const meanRank = 2;
/**
 * Share of the layers, from the top, that are adapted where training is reminded of general examples: what the lower ones know of
 * words stays, and what they compute is computed once.
 */
const remindedShare = 2 / 3;
/** Tokens computed at once. */
const microTokens = 512;
/** Bytes of products that are kept for the way back where there is room. */
const keptBytes = 48 << 20;
/** The learning rate ends at this share of its peak. */
const rateFloor = 0.1;
/** Validations per epoch. */
const evaluations = 2;
/**
 * Epochs by default: about this many examples' worth of steps, within limits. Little data is repeated more often, and validation ends
 * it when that overfits.
 */
const epochBudget = { examples: 1000, least: 1, most: 4 } as const;

/**
 * The gradient stage's settings from the options, with what depends on model and data filled in.
 * @param start adapter that training begins with
 */
export function qloraSettings(
  options: TuneOptions,
  { hyper, examples, start }: { hyper: Hyperparameters; examples: number; start?: { rank: number } },
): QloraSettings {
  const startRank = start?.rank ?? 0;
  const rank = options.rank ?? Math.max(defaultRank, startRank);
  if (rank < startRank) {
    throw new UsageError({
      found: `a rank of ${rank}`,
      expected: `at least ${startRank}, the rank of the adapter that training begins with`,
      where: '--rank',
      fix: 'leave out --rank, or raise it',
    });
  }
  // Factors that training begins with may lie in any layer.
  const isReminded = options.replay > 0 && !start;
  const adaptedByDefault = isReminded ? Math.ceil(remindedShare * hyper.layers) : hyper.layers;
  const byData = Math.round(epochBudget.examples / Math.max(1, examples));
  const asGiven = Object.fromEntries(qloraOptionNames.map((name) => [name, options[name]]));
  const firstLayer = firstAdapted(options.layers, hyper.layers, adaptedByDefault);
  const modules = readTargets(options.targets, linearsOf(hyper.family));
  requireTargets(hyper, firstLayer, modules);
  return {
    ...(asGiven as Pick<TuneOptions, (typeof qloraOptionNames)[number]>),
    firstLayer,
    modules,
    rank,
    alpha: options.alpha ?? 2 * rank,
    learningRate: options.lr ?? (start ? learningRate.known : learningRate.fresh),
    rateFloor,
    epochs: options.epochs ?? Math.min(epochBudget.most, Math.max(epochBudget.least, byData)),
    microTokens,
    keptBytes,
    evaluations,
    // The mean of several runs has more directions than each; cut to the rank of one it would lose a part of what it gained.
    keptRank: options.rank ?? meanRank * rank,
    learnValidation: options.heldout !== undefined,
    transposedType: 'q8_0',
    streamType: 'f16',
  };
}

/** Layers of one model may have other linears. @throws UsageError where none of the trained ones has any of these */
function requireTargets(hyper: Hyperparameters, first: number, modules: readonly LayerLinear[]): void {
  const there = new Set(Array.from({ length: hyper.layers - first }, (_, i) => linearsAt(hyper, first + i)).flat());
  if (modules.length === 0 || modules.some((module) => there.has(module))) return;
  throw new UsageError({
    found: `${modules.join(',')}, which none of the layers to be trained has`,
    expected: `some of ${[...there].join(',')}`,
    where: '--targets',
  });
}

function readTargets(text: string, linears: readonly LayerLinear[]): readonly LayerLinear[] {
  if (text === 'all') return linears;
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.filter((name) => !(linears as readonly string[]).includes(name));
  if (wrong.length > 0) {
    throw new UsageError({
      found: `"${wrong.join('", "')}"`,
      expected: `all, or some of ${linears.join(',')}`,
      where: '--targets',
      fix: 'see loam tune --help',
    });
  }
  return linears.filter((name) => names.includes(name));
}
