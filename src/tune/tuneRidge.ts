import type { Engine } from '../ggml/engine.js';
import type { ModuleFactors } from '../model/lora.js';
import type { Model } from '../model/model.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { buildExamples } from '../ridge/buildExamples.js';
import { fitRidge, type RidgeFit } from '../ridge/fitRidge.js';
import { planShots } from '../ridge/shots.js';
import type { TuneEvent } from './events.js';
import type { TuneOptions } from './options.js';
import type { PreparedData } from './prepare.js';

/** Candidates for λ, tried on validation rows layer by layer; the first is used where there are none. */
const lambdas = [0.3, 0.1, 1];
/** Shots by default are as many as fit into this. */
const defaultShotTokens = 4096;
/** Layers from this share of the depth on follow the labels. */
const sweepShare = 0.8;
/** Share of the context that shots may fill. */
const contextShare = 0.75;

/** The ridge method on prepared data, with its defaults filled in. */
export async function tuneRidge(
  engine: Engine,
  model: Model,
  tokenizer: Tokenizer,
  prepared: PreparedData,
  options: TuneOptions,
  skill: readonly ModuleFactors[] | undefined,
  /** Defaults of the method: what the user chose goes first. */
  preset: { rank: number; shots: number; sweeps: number },
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<{ modules: ModuleFactors[]; teacherNll: RidgeFit['nll']['teacher']; recipe: Record<string, unknown> }> {
  const { layers, contextLength } = model.hyper;
  const { train, validation, heldout } = prepared;
  const longest = [...train, ...validation, ...heldout].reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const shotTokens = Math.min(Math.floor(contextShare * contextLength), contextLength - longest);
  const plan = planShots(prepared.train, {
    shots: options.shots ?? preset.shots,
    maxTokens: options.shots === undefined ? Math.min(shotTokens, defaultShotTokens) : shotTokens,
    seed: options.seed,
  });
  const { examples, prefixes } = buildExamples(prepared, plan, await tokenizer.opening());
  const firstLayer = firstAdapted(options.layers, layers, Math.ceil(layers / 2));
  let last = 0;
  const fit = await fitRidge(
    engine,
    model,
    { examples, prefixes, skill },
    {
      rank: options.rank ?? preset.rank,
      lambdas: options.lambda === undefined ? lambdas : [options.lambda],
      firstLayer,
      sweeps: options.sweeps ?? preset.sweeps,
      firstSweepLayer: Math.max(firstLayer, Math.floor(sweepShare * layers)),
    },
    (event) => {
      if (event.type !== 'progress') {
        emit(event);
        return;
      }
      const now = performance.now();
      if (now - last < 200 && event.done < event.total) return;
      last = now;
      emit({ ...event, stage: 'ridge' });
    },
    signal,
  );
  return {
    modules: fit.modules,
    teacherNll: fit.nll.teacher,
    recipe: {
      layers: { top: layers - firstLayer },
      sweeps: fit.sweeps,
      firstSweepLayer: Math.max(firstLayer, Math.floor(sweepShare * layers)),
      shots: plan.prefixes.map((shots) => shots.length),
    },
  };
}

/** First adapted layer; `fallback` of the upper ones where nothing was chosen. */
export function firstAdapted(choice: TuneOptions['layers'], layers: number, fallback: number): number {
  if (choice === 'all') return 0;
  return Math.max(0, layers - (choice?.top ?? fallback));
}
