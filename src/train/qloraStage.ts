import { isDiskFull, StoppedError } from '../base/errors.js';
import { duration } from '../base/format.js';
import { readMemory } from '../base/memory.js';
import { sharedOpening } from '../model/batch.js';
import { streamWidth } from '../model/hyperparameters.js';
import { Checkpoints, type ResumableTraining, tellDamaged } from './checkpoints.js';
import { DeviceLog } from './DeviceLog.js';
import type { TuneEvent } from './events.js';
import type { Fitted, RidgeStage, RunInputs, RunPlace } from './fit.js';
import { isKept } from './followRun.js';
import { asStage, type OpenedRun } from './lab.js';
import { chosenBy, planTraining } from './plan.js';
import { PriceList, type TrainingPrice } from './price.js';
import { tellPlan } from './priceRun.js';
import { enteringRoom } from './qlora/activations.js';
import { weightFileBytes } from './qlora/costs.js';
import { fitQlora, type QloraFit } from './qlora/fitQlora.js';
import { allSequences } from './qlora/schedule.js';
import type { QloraEvent, QloraProblem, QloraSettings } from './qlora/state.js';
import { replaySet } from './replaySet.js';
import { requireRoom } from './room.js';
import type { RunFolder } from './runFolder.js';
import { qloraSettings } from './settings.js';

/** Share of a time budget that is left for measuring the adapter. */
const measuringShare = 0.1;

/** What qlora's defaults became, after memory and time had their say: a part of an adapter's recipe. */
export type QloraRecipe = ReturnType<typeof recipeOf>;

function recipeOf(layers: number, settings: QloraSettings, fit: QloraFit) {
  return {
    layers: { top: layers - settings.firstLayer },
    rank: settings.rank,
    alpha: settings.alpha,
    lr: settings.learningRate,
    epochs: settings.epochs,
    steps: fit.steps,
    bestStep: fit.best.step,
  };
}

/**
 * The gradient stage: price and plan, or the checkpoint of a stopped run; training with checkpoints; price and truth compared.
 * @param before what the ridge stage came to, or the checkpoint to go on from
 * @param keep is given the best state when the user stops training that has come to something
 */
export async function qloraStage(
  run: OpenedRun,
  inputs: RunInputs,
  { ridge, resumed }: { ridge?: RidgeStage; resumed?: ResumableTraining },
  { folder, started }: RunPlace,
  keep: (best: Fitted) => Promise<void>,
): Promise<Fitted> {
  const { model, data, emit, signal } = run;
  const { options, start } = inputs;
  const { layers } = model.hyper;
  const replay = await replaySet(run, options);
  const problem = { train: data.train, validation: data.validation, start, alternative: ridge?.modules, replay };
  const startRank = start && { rank: Math.max(0, ...start.map(({ factors }) => factors.rank)) };
  const wanted = qloraSettings(options, { hyper: model.hyper, examples: data.examples.train, start: startRank });
  const deadline = options.budget === undefined ? undefined : started + 1000 * options.budget * (1 - measuringShare);
  const record = resumed?.record.ridge ?? ridge?.record;
  const priced = resumed ? undefined : await choose(run, inputs, problem, wanted, deadline);
  if (resumed) await tellResumed(run, resumed, folder);
  const { firstLayer, epochs, microTokens } = resumed?.record ?? priced!.price.settings;
  // Results don't depend on it, so it follows the memory of today; of what is allowed nobody knows what is left.
  const spare = options.memory === undefined ? readMemory().available / 8 : 0;
  const keptBytes = priced?.price.settings.keptBytes ?? Math.min(wanted.keptBytes, spare);
  const settings = { ...wanted, firstLayer, epochs, microTokens, keptBytes };
  if (resumed) {
    const sequences = allSequences(problem);
    const below = { firstLayer, opening: sharedOpening(sequences) };
    const { walk, cache } = enteringRoom(sequences, below, streamWidth(model.hyper));
    const room = walk.disk + cache.disk + weightFileBytes(model, settings);
    await requireRoom(model.engine.scratch, room, 'training');
  }
  const fitted = (fit: QloraFit): Fitted => ({
    modules: fit.modules,
    teacherNll: record?.teacherNll,
    used: { ...record?.recipe, ...recipeOf(layers, settings, fit) },
  });

  const checkpoints = new Checkpoints(folder, { firstLayer, epochs, microTokens, ridge: record }, resumed);
  using log = await DeviceLog.begin(options.maxCelsius);
  const recording: Promise<void>[] = [];
  const tell = asStage('qlora', (event) => {
    emit(event);
    if (event.type === 'progress') return;
    recording.push(folder.record(event));
    if (event.type === 'diverged') emit({ type: 'warning', message: divergence(event) });
  });
  const hear = (event: QloraEvent) =>
    tell(
      event.type === 'step'
        ? { ...event, rssBytes: readMemory().rss, seconds: (performance.now() - started) / 1000 }
        : event,
    );
  emit({ type: 'stage', stage: 'qlora', message: 'training by gradients' });
  const begun = performance.now();
  let keptAs: string | undefined;
  try {
    const fit = await fitQlora({ model, emit: hear, signal }, problem, settings, {
      resume: resumed?.state,
      deadline,
      afterStep: async (step, state) => {
        await Promise.all(recording.splice(0));
        await checkpoints.afterStep(step, state);
        await log.rest(signal);
      },
      // What comes after training may fail, or be cut off: it is then repeated, and no step is.
      ended: async (state) => {
        await checkpoints.save(state).catch((error: unknown) => {
          if (!isDiskFull(error)) throw error;
        });
      },
      stopped: async (state, best) => {
        await Promise.allSettled(recording.splice(0));
        await checkpoints.save(state);
        // Without a step that validation found better there is nothing but what the run began with.
        const worth = best.steps > 0 && (best.best.step > 0 || start || ridge || resumed);
        if (worth) await keep(fitted(best));
        keptAs = worth
          ? `the best adapter so far (step ${best.best.step}) is saved, not yet measured`
          : 'no adapter yet';
      },
    });
    await Promise.all(recording);
    tellEnd(emit, fit, options.budget);
    const seconds = (performance.now() - begun) / 1000 - log.rested;
    const taken = await log.taken();
    const quote =
      priced && (await priced.prices.compare(priced.price, { seconds, taken, whole: fit.ended === 'schedule' }));
    const { steps, runs } = fit;
    return { ...fitted(fit), training: { steps, bestStep: fit.best.step, runs, quote, ...taken } };
  } catch (error) {
    if (error instanceof StoppedError && keptAs !== undefined) {
      throw new StoppedError(`stopped by the user: ${keptAs}; the same command goes on from here`);
    }
    throw error;
  }
}

/** Prices training on this device, plans it into the memory and the time there is, and tells so. @throws LoamError if it does not fit */
async function choose(
  { model, emit, signal }: OpenedRun,
  { options, identity }: RunInputs,
  problem: QloraProblem,
  settings: QloraSettings,
  deadline: number | undefined,
): Promise<{ prices: PriceList; price: TrainingPrice }> {
  emit({ type: 'stage', stage: 'qlora', message: 'measuring what training takes on this device' });
  const prices = await PriceList.measure({ model, emit, signal }, problem, settings, options, identity.model);
  const seconds = deadline === undefined ? undefined : (deadline - performance.now()) / 1000;
  const plan = planTraining(prices, chosenBy(options), seconds);
  tellPlan(prices, plan, emit);
  await requireRoom(model.engine.scratch, plan.price.estimated.diskBytes, 'training');
  return { prices, price: plan.price };
}

async function tellResumed({ emit }: OpenedRun, resumed: ResumableTraining, folder: RunFolder): Promise<void> {
  const { state } = resumed;
  tellDamaged(emit, resumed);
  emit({ type: 'resumed', step: state.step });
  await folder.rewindMetrics(({ step }) => typeof step !== 'number' || isKept(step, state));
}

function divergence({ step, backTo, learningRate }: Extract<TuneEvent, { type: 'diverged' }>): string {
  return `the loss diverged at step ${step}: back to the state of step ${backTo}, with a learning rate of ${learningRate}`;
}

/** Says why training ended before its schedule did. */
function tellEnd(emit: (event: TuneEvent) => void, { ended, steps }: QloraFit, budget: number | undefined): void {
  if (ended === 'budget') {
    emit({ type: 'warning', message: `the budget of ${duration(budget!)} ended training at step ${steps}` });
  }
  if (ended === 'validation') {
    const message = 'validation stopped improving, so training ended; the best state is kept';
    emit({ type: 'warning', message });
  }
}
