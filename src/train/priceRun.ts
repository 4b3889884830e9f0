import { LoamError } from '../base/errors.js';
import { bytes, duration } from '../base/format.js';
import { readMemory } from '../base/memory.js';
import { loamHome } from '../base/process.js';
import { liesInMemory } from '../base/spillFile.js';
import type { DataSources } from '../examples/joinDatasets.js';
import type { Model } from '../model/model.js';
import { provenModel } from '../models/listModels.js';
import type { RunQuote, TuneEvent } from './events.js';
import { requireGradients } from './fit.js';
import { modelHash, type OpenedRun, openRun } from './lab.js';
import type { TuneOptions } from './options.js';
import { chosenBy, planTraining, type TrainingPlan } from './plan.js';
import { measuringBytes, PriceList, type TrainingPrice } from './price.js';
import { replaySet } from './replaySet.js';
import { planExamples } from './ridge/examples.js';
import { hasRidgeStart } from './ridgeStart.js';
import { type Room, ridgeRoom } from './room.js';
import { autoPreset, qloraSettings, ridgePreset, ridgeSettings } from './settings.js';
import { foreignRoom, surveyFor } from './slices/fitSlices.js';
import { wholeTokens } from './slices/fitWhole.js';
import { secondsAToken } from './slices/price.js';
import { tellUnused } from './unusedOptions.js';

/** How a plan is told: as warnings, as an event of a run, and as the price of a run that has not begun. */

/** What was given up, in sentences. */
function concessions({ wanted, inTime, refused, price }: TrainingPlan): string[] {
  const given: string[] = [];
  const layers = inTime.layers < wanted.layers ? [`the top ${inTime.layers} of ${wanted.layers} layers`] : [];
  const epochs =
    inTime.epochs < wanted.epochs ? [`${inTime.epochs.toFixed(1)} epochs instead of ${wanted.epochs}`] : [];
  const cut = [...layers, ...epochs].join(' and ');
  if (cut !== '') given.push(`to finish in time, training is cut to ${cut}`);
  if (refused && refused !== price) {
    given.push(
      `training ${inTime.layers} layers would take ${bytes(refused.told.memoryBytes)} of memory; the top ${price.told.layers} fit and are trained`,
    );
  }
  return given;
}

/** Tells what will be trained, what it takes, and what was given up. @throws LoamError if it does not fit into memory */
export function tellPlan(prices: PriceList, plan: TrainingPlan, emit: (event: TuneEvent) => void): void {
  const { price, cheaper } = plan;
  const warn = (message: string) => emit({ type: 'warning', message });
  for (const message of concessions(plan)) warn(message);
  const { freeBytes: availableBytes } = prices;
  emit({ type: 'quote', ...price.told, availableBytes, cheaper: cheaper.map(({ told }) => told) });
  if (prices.diskIsMemory)
    warn(`the folder for activations and checkpoints is in memory (tmpfs), and counts as memory`);
  const { batteryPercent } = price.told;
  const { batteryLeft } = prices;
  if (batteryPercent !== undefined && batteryLeft !== undefined && batteryPercent > batteryLeft - spare) {
    warn(
      `this takes about ${Math.ceil(batteryPercent)} % of the battery, which has ${Math.floor(batteryLeft)} %: plug it in, or let it wait for that with --while-charging`,
    );
  }
  requireFits(prices, plan);
}

/** Percent of the battery that should be left. */
const spare = 10;

function requireFits(prices: PriceList, { price, most }: TrainingPlan): void {
  if (prices.fits(price)) return;
  const cost = ({ told }: TrainingPrice) => [bytes(told.memoryBytes), duration(told.seconds)] as const;
  const [memory, time] = cost(price);
  const [lessMemory, lessTime] = most ? cost(most) : [];
  throw new LoamError({
    code: 'out-of-memory',
    found: `training ${price.told.layers} layers takes about ${memory} of memory (${time}), and ${bytes(prices.usableBytes)} may be used`,
    fix: most
      ? `use --layers top:${most.told.layers}, which takes ${lessMemory} and ${lessTime}, or close other programs`
      : 'use --method ridge or a smaller model, or close other programs',
  });
}

/** Forward passes of ridge over all tokens, in units of one: the teacher's, the student's, and what statistics and solving add. */
const ridgePasses = 4;
/** A pass that follows the labels goes forward twice through the upper layers. */
const sweepPasses = 1;

/** Seconds of ridge by rule of thumb. @param pass seconds of a forward pass over all tokens */
function ridgeSeconds(pass: number, { method, sweeps }: Pick<TuneOptions, 'method' | 'sweeps'>): number {
  return pass * (ridgePasses + sweepPasses * (sweeps ?? (method === 'ridge' ? 3 : 0)));
}

/** What the ridge stage of a run holds; where the disk is memory, all of it there. */
async function roomOfRidge(run: OpenedRun, options: TuneOptions): Promise<Room> {
  const preset = options.method === 'ridge' ? ridgePreset : autoPreset;
  const { examples } = await planExamples(run, options, preset, await replaySet(run, options));
  return await placed(run, ridgeRoom(run.model.hyper, examples, { sweeps: options.sweeps ?? preset.sweeps }));
}

async function placed({ model }: OpenedRun, { memory, disk }: Room): Promise<Room> {
  return (await liesInMemory(model.engine.scratch)) ? { memory: memory + disk, disk: 0 } : { memory, disk };
}

/** Memory that ridge takes, and measuring after it. */
function ridgeBytes(model: Model, { rank = ridgePreset.rank }: Pick<TuneOptions, 'rank'>, room: Room): number {
  const { layers, embedding, feedForward } = model.hyper;
  const fitting = 2 * 4 * feedForward ** 2 + room.memory;
  return readMemory().rss + Math.max(fitting, measuringBytes(model, (layers * rank * 4 * embedding) / 2));
}

/** Each linear is fitted on another reading of its slice; of a model that is read whole on what was noted of it, in about a pass more. */
const slicedPasses = 1.5;

/** The same of a model whose layers libllama alone computes: ridge is all there is. */
async function priceForeign(run: OpenedRun, given: TuneOptions, warnings: string[]): Promise<RunQuote> {
  const { model, data } = run;
  if (given.method === 'qlora' || given.start !== undefined) requireGradients(run, given);
  const options = { ...given, method: 'ridge' } as const;
  const replayed = await replaySet(run, options);
  const walked = [...data.train, ...data.validation, ...(replayed ?? [])];
  const tokens = walked.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
  const problem = await planExamples(run, options, ridgePreset, replayed);
  const survey = await surveyFor(model, problem, run.signal);
  const isWhole = survey.ranges.length === 0;
  const aToken = await secondsAToken(model);
  const seconds = isWhole
    ? (wholeTokens(problem) + tokens) * aToken
    : slicedPasses * ridgeSeconds(tokens * aToken, options);
  const settings = ridgeSettings(model.hyper.layers, options, ridgePreset);
  const { memory, disk } = await placed(run, foreignRoom(model, problem, settings, survey));
  // Slices are in memory one at a time, which is less than measuring takes.
  const loaded = isWhole ? measuringBytes(model, 0) : 0;
  return {
    type: 'quote',
    roughSeconds: seconds,
    seconds: Math.min(seconds, options.budget ?? Number.POSITIVE_INFINITY),
    memoryBytes: ridgeBytes(model, options, { memory: memory + loaded, disk }),
    diskBytes: disk,
    examples: data.examples.train,
    tokens: data.train.reduce((sum, { targets }) => sum + targets.length, 0),
    ...fittedLayers(model, options),
    cheaper: [],
    warnings,
  };
}

/** What ridge adapts. */
function fittedLayers({ hyper }: Model, options: TuneOptions): Pick<RunQuote, 'layers' | 'modelLayers'> {
  const { firstLayer } = ridgeSettings(hyper.layers, options, ridgePreset);
  return { layers: hyper.layers - firstLayer, modelLayers: hyper.layers };
}

/**
 * What a run would take, before it begins: measures a layer on this device, for some seconds.
 * @throws LoamError if the data cannot be used, or the run would not fit into memory
 */
export async function priceRun(
  data: DataSources,
  options: TuneOptions,
  signal: AbortSignal = new AbortController().signal,
): Promise<RunQuote> {
  const warnings: string[] = [];
  const hear = (event: TuneEvent) => {
    if (event.type === 'warning') warnings.push(event.message);
  };
  await using run = await openRun(
    await provenModel(options.model, { signal }),
    { data },
    { ...options, scratch: loamHome('runs') },
    hear,
    signal,
  );
  const { model } = run;
  tellUnused(run, options);
  if (model.hyper.family.isForeign) return await priceForeign(run, options, warnings);
  const start = options.start === undefined ? undefined : { rank: 0 };
  const settings = qloraSettings(options, { hyper: model.hyper, examples: run.data.examples.train, start });
  const problem = { ...run.data, replay: await replaySet(run, options) };
  const prices = await PriceList.measure(run, problem, settings, options, await modelHash(run));
  const walked = [...run.data.train, ...run.data.validation, ...(problem.replay ?? [])];
  const tokens = walked.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
  const hasRidge = options.method === 'ridge' || hasRidgeStart(options);
  const ridge = hasRidge ? ridgeSeconds(prices.forwardSeconds(tokens), options) : 0;
  const budget = options.budget ?? Number.POSITIVE_INFINITY;
  const common = {
    type: 'quote',
    roughSeconds: ridge,
    modelLayers: model.hyper.layers,
    examples: run.data.examples.train,
    tokens: run.data.train.reduce((sum, { targets }) => sum + targets.length, 0),
  } as const;
  const room = hasRidge ? await roomOfRidge(run, options) : undefined;
  if (options.method === 'ridge') {
    const memoryBytes = ridgeBytes(model, options, room!);
    const taken = { seconds: Math.min(ridge, budget), memoryBytes, diskBytes: room!.disk };
    return { ...common, ...fittedLayers(model, options), ...taken, cheaper: [], warnings };
  }
  const plan = planTraining(prices, chosenBy(options));
  tellPlan(prices, plan, hear);
  const within = ({ told }: TrainingPrice) => ({
    ...told,
    seconds: Math.min(ridge + told.seconds, budget),
    // One after the other.
    diskBytes: Math.max(told.diskBytes, room?.disk ?? 0),
  });
  return { ...common, ...within(plan.price), cheaper: plan.cheaper.map(within), warnings };
}
