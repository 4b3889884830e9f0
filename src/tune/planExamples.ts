import type { Model } from '../model/model.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { buildExamples } from '../ridge/buildExamples.js';
import type { RidgeExample } from '../ridge/examples.js';
import { planShots } from '../ridge/shots.js';
import type { TuneOptions } from './options.js';
import type { PreparedData } from './prepare.js';

/** Shots by default are as many as fit into this. */
const defaultShotTokens = 4096;
/** Share of the context that shots may fill. */
const contextShare = 0.75;

/** What teacher and student read, of prepared data. */
export async function planExamples(
  model: Model,
  tokenizer: Tokenizer,
  prepared: PreparedData,
  options: Pick<TuneOptions, 'shots' | 'seed'>,
  preset: { shots: number },
): Promise<{ examples: RidgeExample[]; prefixes: Int32Array[]; shots: number[][] }> {
  const { contextLength } = model.hyper;
  const { train, validation, heldout } = prepared;
  const longest = [...train, ...validation, ...heldout].reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const shotTokens = Math.min(Math.floor(contextShare * contextLength), contextLength - longest);
  const plan = planShots(train, {
    shots: options.shots ?? preset.shots,
    maxTokens: options.shots === undefined ? Math.min(shotTokens, defaultShotTokens) : shotTokens,
    seed: options.seed,
  });
  return { ...buildExamples(prepared, plan, await tokenizer.opening()), shots: plan.prefixes };
}
