import { type LayerLinear, layerLinears } from '../model/architecture.js';
import type { QloraSettings } from '../qlora/settings.js';
import { UsageError } from '../util/errors.js';
import type { TuneOptions } from './options.js';
import { firstAdapted } from './ridgeSettings.js';

/** Peak learning rate of A from nothing (B's is `loraPlus` times it); known factors want half of it. */
const learningRate = { fresh: 1.4e-3, known: 7e-4 } as const;
const defaultRank = 16;
/** Rank of a mean of runs, as a multiple of each one's. */
const meanRank = 2;
/** Tokens computed at once. */
const microTokens = 512;
/** The learning rate ends at this share of its peak. */
const rateFloor = 0.1;
/** Validations in an epoch. */
const evaluations = 2;
/**
 * Epochs by default: about so many steps' worth of examples, within limits. Little data is repeated more often, and validation ends
 * it where that overfits.
 */
const epochBudget = { examples: 1000, least: 1, most: 4 } as const;

/** The gradient stage's settings from the options, with what depends on model and data filled in. */
export function qloraSettings(
  options: TuneOptions,
  { layers, examples, started, startRank }: { layers: number; examples: number; started: boolean; startRank: number },
): QloraSettings {
  const rank = options.rank ?? Math.max(defaultRank, startRank);
  if (rank < startRank) {
    throw new UsageError({
      found: `a rank of ${rank}`,
      expected: `at least ${startRank}, the rank of the adapter that training begins with`,
      where: '--rank',
      fix: 'leave out --rank, or raise it',
    });
  }
  const byData = Math.round(epochBudget.examples / Math.max(1, examples));
  return {
    firstLayer: firstAdapted(options.layers, layers, layers),
    modules: readTargets(options.targets),
    rank,
    alpha: options.alpha ?? 2 * rank,
    rsLora: options.rsLora,
    learningRate: options.lr ?? (started ? learningRate.known : learningRate.fresh),
    loraPlus: options.loraPlus,
    epochs: options.epochs ?? Math.min(epochBudget.most, Math.max(epochBudget.least, byData)),
    batch: options.batch,
    microTokens,
    dropout: options.dropout,
    warmup: options.warmup,
    rateFloor,
    weightDecay: options.weightDecay,
    clip: options.clip,
    evaluations,
    patience: options.patience,
    averaging: options.averaging,
    runs: options.runs,
    // The mean of several runs has more directions than each; cut to the rank of one it would lose a part of what it gained.
    keptRank: options.rank ?? meanRank * rank,
    learnValidation: options.heldout !== undefined,
    seed: options.seed,
    recompute: false,
    transposedType: 'q8_0',
  };
}

function readTargets(text: string): readonly LayerLinear[] {
  if (text === 'all') return layerLinears;
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.filter((name) => !(layerLinears as readonly string[]).includes(name));
  if (wrong.length > 0) {
    throw new UsageError({
      found: `"${wrong.join('", "')}"`,
      expected: `all, or some of ${layerLinears.join(',')}`,
      where: '--targets',
      fix: 'see loam tune --help',
    });
  }
  return layerLinears.filter((name) => names.includes(name));
}
