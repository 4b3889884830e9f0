import { LoamError, StoppedError } from '../base/errors.js';
import { duration } from '../base/format.js';
import type { Engine } from '../engine/engine.js';
import { releaseMemory } from '../engine/memory.js';
import type { ModuleFactors } from '../model/factors.js';
import type { Model } from '../model/model.js';
import type { Tokenizer } from '../model/tokenizer.js';
import type { TuneEvent, TuneResult } from './events.js';
import type { Recipe, TuneOptions } from './options.js';
import { type PreparedData, planExamples } from './prepare.js';
import { thinProgress } from './progress.js';
import type { QloraFit } from './qlora/fitQlora.js';
import type { QloraSettings } from './qlora/state.js';
import type { RidgeSettings } from './ridge/correctLayer.js';
import { fitRidge, type RidgeFit } from './ridge/fitRidge.js';
import type { RunFolder } from './runFolder.js';
import { qloraSettings, type RidgePreset, ridgePreset, ridgeSettings } from './settings.js';
import { findCheckpoint, type Resumable, tuneQlora } from './tuneQlora.js';

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

/** Everything that decides what a run computes: where any of it differs, a run can't be gone on with. */
export interface Identity extends Record<string, unknown> {
  data: string;
  heldout: string | null;
  model: string;
  teacher: string | null;
  start: string | null;
  options: Recipe;
  threads: number;
  version: string;
}

/** What a method made of the data. */
export interface Fitted {
  modules: ModuleFactors[];
  /** Of ridge's teacher, by our own graph, by part of the data. */
  teacherNll?: Partial<Record<TuneResult['measuredOn'], number>>;
  /** What the defaults became: for the adapter's recipe. */
  used: Record<string, unknown>;
  training?: Pick<TuneResult, 'steps' | 'bestStep' | 'runs' | 'quote' | 'energyJoules'>;
}

interface FitRequest {
  engine: Engine;
  model: Model;
  tokenizer: Tokenizer;
  prepared: PreparedData;
  options: TuneOptions;
  skill?: readonly ModuleFactors[];
  start?: readonly ModuleFactors[];
  folder: RunFolder;
  identity: Identity;
  /** Time of `performance.now` at which the run began. */
  started: number;
  emit: (event: TuneEvent) => void;
  signal: AbortSignal;
}

/** Defaults of ridge where it is all there is, and where gradients follow: then it need not follow the labels itself. */
const ridgePresets = {
  ridge: ridgePreset,
  auto: { rank: 16, shots: 16, sweeps: 0 },
} as const;
/** Share of a time budget that is left for measuring the adapter. */
const measuringShare = 0.1;

/** Runs the chosen method. @param onStopped is given the best state when the user stops a run that has one */
export async function fitModel(request: FitRequest, onStopped: (best: Fitted) => Promise<void>): Promise<Fitted> {
  const { options, folder, identity, emit } = request;
  if (options.method === 'ridge') {
    await folder.start(identity);
    const { modules, teacherNll, recipe } = await ridge(request, ridgePresets.ridge);
    return { modules, teacherNll, used: recipe };
  }
  const resume = await findUnfinished(request);
  if (!resume) await folder.start(identity);
  const { start } = request;
  let alternative: readonly ModuleFactors[] | undefined;
  let earlier: Record<string, unknown> = resume?.earlier ?? {};
  if (options.method === 'auto' && !resume && start) {
    emit({ type: 'warning', message: 'training begins with the adapter of --start, so ridge is left out' });
  } else if (options.method === 'auto' && !resume) {
    const first = await ridge(request, ridgePresets.auto);
    // Gram matrices and their factors: training needs that room.
    releaseMemory();
    alternative = first.modules;
    earlier = { teacherNll: first.teacherNll, ridge: first.recipe };
  }
  const { model, prepared } = request;
  const startRank = Math.max(0, ...(start ?? []).map(({ factors }) => factors.rank));
  const settings = qloraSettings(options, {
    startRank,
    hyper: model.hyper,
    examples: prepared.examples.train,
    started: start !== undefined,
  });
  /** @param used the settings after memory and time had their say */
  const fitted = (fit: QloraFit, used: QloraSettings): Fitted => ({
    modules: fit.modules,
    teacherNll: earlier.teacherNll as Fitted['teacherNll'],
    used: {
      ...(earlier.ridge as object | undefined),
      layers: { top: model.hyper.layers - used.firstLayer },
      rank: used.rank,
      alpha: used.alpha,
      lr: used.learningRate,
      epochs: used.epochs,
      steps: fit.steps,
      bestStep: fit.best.step,
    },
  });
  const before = (performance.now() - request.started) / 1000;
  const budget = options.budget === undefined ? undefined : options.budget * (1 - measuringShare);
  let keptAs: string | undefined;
  try {
    const run = await tuneQlora({
      ...request,
      settings,
      fixed: { layers: options.layers !== undefined, epochs: options.epochs !== undefined },
      key: `${options.method} ${identity.model.slice(0, 12)}`,
      start,
      alternative,
      resume,
      earlier,
      deadline: budget === undefined ? undefined : request.started + 1000 * budget,
      before,
      stopped: async (best, used) => {
        // Without a step that validation found better there is nothing but what the run began with.
        const worth =
          best.steps > 0 &&
          (best.best.step > 0 || start !== undefined || alternative !== undefined || resume !== undefined);
        if (worth) await onStopped(fitted(best, used));
        keptAs = worth
          ? `the best adapter so far (step ${best.best.step}) is saved, not yet measured`
          : 'no adapter yet';
      },
    });
    if (run.fit.ended === 'budget') {
      emit({
        type: 'warning',
        message: `the budget of ${duration(options.budget!)} ended training at step ${run.fit.steps}`,
      });
    }
    if (run.fit.ended === 'validation') {
      emit({
        type: 'warning',
        message: 'validation stopped getting better, so training ended; the best state is kept',
      });
    }
    const { fit } = run;
    return {
      ...fitted(fit, run.settings),
      training: {
        steps: fit.steps,
        bestStep: fit.best.step,
        runs: fit.runs,
        quote: run.quote,
        energyJoules: run.quote?.truth.energyJoules,
      },
    };
  } catch (error) {
    if (error instanceof StoppedError && keptAs !== undefined) {
      throw new StoppedError(`stopped by the user: ${keptAs}; the same command goes on from here`);
    }
    throw error;
  }
}

async function ridge(request: FitRequest, preset: (typeof ridgePresets)[keyof typeof ridgePresets]) {
  const { engine, model, tokenizer, prepared, options, skill, emit, signal } = request;
  emit({ type: 'stage', stage: 'ridge', message: 'fitting the corrections, layer by layer' });
  return await tuneRidge(engine, model, tokenizer, prepared, options, skill, preset, emit, signal);
}

/** A checkpoint of the same run, unless the user wants to begin anew. */
async function findUnfinished({ options, folder, identity, emit }: FitRequest): Promise<Resumable | undefined> {
  if (options.restart) return undefined;
  const differences = await folder.resume(identity);
  const found = differences === undefined ? undefined : await findCheckpoint(folder);
  if (found && differences!.length === 0) return found;
  const stated = differences?.join('; ') ?? '';
  if (options.resume) {
    throw new LoamError({
      code: found ? 'conflict' : 'not-found',
      found: found
        ? `the stopped run had other inputs or settings: ${stated}`
        : 'there is no stopped run of this output to resume',
      where: folder.path,
      fix: found ? 'use what it had, or leave out --resume to start over' : 'leave out --resume',
    });
  }
  if (found) {
    emit({
      type: 'warning',
      message: `a stopped run of this output (step ${found.state.step}) had other inputs or settings and is replaced: ${stated}`,
    });
  }
  return undefined;
}
