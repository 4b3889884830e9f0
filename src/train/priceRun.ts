import { LoamError } from '../base/errors.js';
import { bytes, duration } from '../base/format.js';
import { readMemory } from '../base/memory.js';
import { loamHome } from '../base/process.js';
import { liesInMemory } from '../base/spillFile.js';
import type { NamedBytes } from '../examples/example.js';
import { provenModel } from '../models/listModels.js';
import type { RunQuote, TuneEvent } from './events.js';
import { modelHash, type OpenedRun, openRun } from './lab.js';
import type { TuneOptions } from './options.js';
import { chosenBy, planTraining, type TrainingPlan } from './plan.js';
import { PriceList, priceKey, type TrainingPrice } from './price.js';
import { replaySet } from './replaySet.js';
import { planExamples } from './ridge/examples.js';
import { type Room, ridgeRoom } from './room.js';
import { autoPreset, qloraSettings, ridgePreset } from './settings.js';

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
  requireFits(prices, plan);
}

function requireFits(prices: PriceList, { price, most }: TrainingPlan): void {
  if (prices.fits(price)) return;
  const cost = ({ told }: TrainingPrice) => [bytes(told.memoryBytes), duration(told.seconds)] as const;
  const [memory, time] = cost(price);
  const [lessMemory, lessTime] = most ? cost(most) : [];
  throw new LoamError({
    code: 'out-of-memory',
    found: `training ${price.told.layers} layers takes about ${memory} of memory (${time}), and ${bytes(prices.usableBytes)} are available`,
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
function ridgeSeconds(pass: number, { method, start, sweeps }: TuneOptions): number {
  if (method === 'qlora' || (method === 'auto' && start !== undefined)) return 0;
  return pass * (ridgePasses + sweepPasses * (sweeps ?? (method === 'ridge' ? 3 : 0)));
}

/** What the ridge stage of a run holds; on a disk that is memory, all of it there. */
async function roomOfRidge(run: OpenedRun, options: TuneOptions): Promise<Room> {
  if (options.method === 'auto' && options.start !== undefined) return { memory: 0, disk: 0 };
  const preset = options.method === 'ridge' ? ridgePreset : autoPreset;
  const { examples } = await planExamples(run, options, preset, await replaySet(run, options));
  const { memory, disk } = ridgeRoom(run.model.hyper, examples, { sweeps: options.sweeps ?? preset.sweeps });
  return (await liesInMemory(run.model.engine.scratch)) ? { memory: memory + disk, disk: 0 } : { memory, disk };
}

/**
 * What a run would take, before it begins: measures a layer on this device, for some seconds.
 * @throws LoamError if the data cannot be used, or the run would not fit into memory
 */
export async function priceRun(
  data: string | NamedBytes,
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
  const { layers, feedForward } = model.hyper;
  const start = options.start === undefined ? undefined : { rank: 0 };
  const settings = qloraSettings(options, { hyper: model.hyper, examples: run.data.examples.train, start });
  const problem = { ...run.data, replay: await replaySet(run, options) };
  const prices = await PriceList.measure(run, problem, settings, priceKey(options, await modelHash(run)));
  const walked = [...run.data.train, ...run.data.validation, ...(problem.replay ?? [])];
  const tokens = walked.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
  const ridge = ridgeSeconds(prices.costs.forward * layers * tokens, options);
  const budget = options.budget ?? Number.POSITIVE_INFINITY;
  const common = {
    type: 'quote',
    roughSeconds: ridge,
    examples: run.data.examples.train,
    tokens: run.data.train.reduce((sum, { targets }) => sum + targets.length, 0),
  } as const;
  const room = options.method === 'qlora' ? undefined : await roomOfRidge(run, options);
  if (options.method === 'ridge') {
    const memoryBytes = readMemory().rss + 2 * 4 * feedForward ** 2 + room!.memory;
    return { ...common, seconds: Math.min(ridge, budget), memoryBytes, diskBytes: room!.disk, cheaper: [], warnings };
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
