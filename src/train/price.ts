import { hashFile } from '../base/io.js';
import { readMemory } from '../base/memory.js';
import { Engine } from '../engine/engine.js';
import type { NamedBytes } from '../examples/example.js';
import { Model } from '../model/model.js';
import { Tokenizer } from '../model/tokenizer.js';
import { resolveModel } from '../models/listModels.js';
import { Corrections } from './corrections.js';
import type { RunQuote, TuneEvent } from './events.js';
import type { TuneOptions } from './options.js';
import { prepareData } from './prepare.js';
import { type LayerCosts, measureCosts } from './qlora/price.js';
import { qloraSettings } from './settings.js';
import { choose } from './tuneQlora.js';

/** Forward passes of ridge over all tokens, in units of one: the teacher's, the student's, and what statistics and solving add. */
const ridgePasses = 4;
/** A pass that follows the labels goes forward twice through the upper layers. */
const sweepPasses = 1;

/**
 * What a run would take, before it begins: measures a layer on this device, for some seconds.
 * @throws LoamError where the data cannot be used, or the run would not fit into memory
 */
export async function quoteRun(
  data: string | NamedBytes,
  options: TuneOptions,
  signal?: AbortSignal,
): Promise<RunQuote> {
  const warnings: string[] = [];
  let told: Extract<TuneEvent, { type: 'quote' }> | undefined;
  const emit = (event: TuneEvent) => {
    if (event.type === 'warning') warnings.push(event.message);
    if (event.type === 'quote') told = event;
  };
  const source = await resolveModel(options.model);
  using engine = new Engine({ threads: options.threads });
  await using model = await Model.open(engine, source.path);
  using tokenizer = await Tokenizer.open(model.gguf);
  const { layers, contextLength } = model.hyper;
  const maxTokens = Math.min(options.maxTokens, contextLength);
  const prepared = await prepareData(tokenizer, { data, maxTokens, contextLength, seed: options.seed }, emit, signal);
  const settings = qloraSettings(options, {
    hyper: model.hyper,
    examples: prepared.examples.train,
    started: options.start !== undefined,
    startRank: 0,
  });
  const costs = await measureCosts(engine, model, prepared.train, settings, signal);
  const all = [...prepared.train, ...prepared.validation];
  const tokens = all.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
  const ridge = ridgeSeconds(costs, layers * tokens, options);
  if (options.method !== 'ridge') {
    const corrections = await Corrections.open();
    const key = `${options.method} ${(source.sha256 ?? (await hashFile(source.path, signal).result)).slice(0, 12)}`;
    choose(
      model,
      costs,
      prepared,
      { settings, key, emit, fixed: { layers: options.layers !== undefined, epochs: options.epochs !== undefined } },
      corrections,
    );
  }
  const { rss } = readMemory();
  const seconds = ridge + (told?.seconds ?? 0);
  const budget = options.budget ?? Number.POSITIVE_INFINITY;
  return {
    type: 'quote',
    layers: told?.layers,
    recompute: told?.recompute,
    seconds: Math.min(seconds, budget),
    memoryBytes: told?.memoryBytes ?? rss + 2 * 4 * model.hyper.feedForward ** 2,
    diskBytes: told?.diskBytes ?? 0,
    energyJoules: told?.energyJoules,
    cheaper: (told?.cheaper ?? []).map((one) => ({ ...one, seconds: Math.min(ridge + one.seconds, budget) })),
    roughSeconds: ridge,
    examples: prepared.examples.train,
    tokens: prepared.train.reduce((sum, { targets }) => sum + targets.length, 0),
    warnings,
  };
}

function ridgeSeconds(costs: LayerCosts, layerTokens: number, options: TuneOptions): number {
  if (options.method === 'qlora' || (options.method === 'auto' && options.start !== undefined)) return 0;
  const sweeps = options.sweeps ?? (options.method === 'ridge' ? 3 : 0);
  return costs.forward * layerTokens * (ridgePasses + sweepPasses * sweeps);
}
