import type { Engine } from '../ggml/engine.js';
import type { ModuleFactors } from '../model/lora.js';
import type { Model } from '../model/model.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { fitRidge } from '../ridge/fitRidge.js';
import type { RidgeFit } from '../ridge/fitStudent.js';
import type { RidgeSettings } from '../ridge/settings.js';
import type { TuneEvent } from './events.js';
import type { TuneOptions } from './options.js';
import { planExamples } from './planExamples.js';
import type { PreparedData } from './prepare.js';
import { type RidgePreset, ridgeSettings } from './ridgeSettings.js';
import { thinProgress } from './thinProgress.js';

/** The ridge method on prepared data, with its defaults filled in. */
export async function tuneRidge(
  engine: Engine,
  model: Model,
  tokenizer: Tokenizer,
  prepared: PreparedData,
  options: TuneOptions,
  skill: readonly ModuleFactors[] | undefined,
  /** Defaults of the method: what the user chose goes first. */
  preset: RidgePreset,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<{ modules: ModuleFactors[]; teacherNll: RidgeFit['nll']['teacher']; recipe: Record<string, unknown> }> {
  const plan = await planExamples(model, tokenizer, prepared, options, preset);
  const settings = ridgeSettings(model.hyper.layers, options, preset);
  const problem = { examples: plan.examples, prefixes: plan.prefixes, skill };
  const fit = await fitRidge(engine, model, problem, settings, thinProgress('ridge', emit), signal);
  return {
    modules: fit.modules,
    teacherNll: fit.nll.teacher,
    recipe: usedByRidge(model.hyper.layers, settings, fit.sweeps, plan.shots),
  };
}

/** What ridge's defaults became: for the adapter's recipe. */
export function usedByRidge(
  layers: number,
  { firstLayer, firstSweepLayer }: RidgeSettings,
  sweeps: number,
  shots: readonly (readonly number[])[],
): Record<string, unknown> {
  return { layers: { top: layers - firstLayer }, sweeps, firstSweepLayer, shots: shots.map(({ length }) => length) };
}
