import { releaseMemory } from '../engine/memory.js';
import { requireFamily } from '../families/foreign.js';
import type { ModuleFactors } from '../model/factors.js';
import { type Resumable, type ResumableRidge, RidgeCheckpoints, type RidgeRecord, tellDamaged } from './checkpoints.js';
import { DeviceLog, type Taken } from './DeviceLog.js';
import type { TuneResult } from './events.js';
import type { Identity } from './identity.js';
import { asStage, finite, type OpenedRun } from './lab.js';
import type { TuneOptions } from './options.js';
import { type QloraRecipe, qloraStage } from './qloraStage.js';
import { replaySet } from './replaySet.js';
import { planExamples } from './ridge/examples.js';
import { fitRidge } from './ridge/fitRidge.js';
import type { RidgeKeeper } from './ridge/state.js';
import { hasRidgeStart } from './ridgeStart.js';
import { requireRoom, ridgeRoom } from './room.js';
import type { RunFolder } from './runFolder.js';
import { autoPreset, type RidgePreset, type RidgeRecipe, ridgePreset, ridgeRecipe, ridgeSettings } from './settings.js';
import { fitForeign } from './slices/fitSlices.js';

/** The methods of tuning, stage by stage: ridge, qlora, or qlora with ridge's factors as a possible start. */

/** What decides, with the model and the data, what a run computes. */
export interface RunInputs {
  options: TuneOptions;
  /** Adapter that is applied to ridge's teacher. */
  skill?: readonly ModuleFactors[];
  /** Adapter that training by gradients begins with. */
  start?: readonly ModuleFactors[];
  identity: Identity;
}

/** What a method made of the data. */
export interface Fitted {
  modules: ModuleFactors[];
  /** Of ridge's teacher, by our own graph, by part of the data. */
  teacherNll?: RidgeRecord['teacherNll'];
  /** What the defaults became: for the adapter's recipe. */
  used: RidgeRecipe | QloraRecipe;
  training?: Pick<TuneResult, 'steps' | 'bestStep' | 'runs' | 'quote' | keyof Taken>;
}

/** Where a run keeps what it needs to go on later, and when it began (`performance.now`). */
export interface RunPlace {
  folder: RunFolder;
  started: number;
}

/** @throws UnsupportedError for a model that cannot be trained by gradients, as is asked for */
export function requireGradients({ model, source }: OpenedRun, { start }: Pick<TuneOptions, 'start'>): void {
  requireFamily(model.hyper.family, 'training by gradients', {
    where: source.path,
    fix: `use \`loam tune --method ridge\`${start === undefined ? '' : ' without --start'}, or another model`,
  });
}

/**
 * Runs the chosen method.
 * @param resumed the checkpoint to go on from; without one whatever an earlier run left in the folder is removed
 * @param keep is given the best state when the user stops a run that has one
 */
export async function fitModel(
  run: OpenedRun,
  inputs: RunInputs,
  place: RunPlace,
  resumed: Resumable | undefined,
  keep: (best: Fitted) => Promise<void>,
): Promise<Fitted> {
  const { options, start, identity } = inputs;
  if (!resumed) await place.folder.start(identity);
  const [ridged, trained] = resumed?.stage === 'ridge' ? [resumed] : [undefined, resumed];
  const { family } = run.model.hyper;
  if (options.method === 'qlora' || start) requireGradients(run, options);
  if (options.method === 'auto' && family.isForeign) {
    const message = `libllama alone computes the layers of this model (${family.title}), so ridge is all there is: no training by gradients follows`;
    run.emit({ type: 'warning', message });
  }
  if (options.method === 'ridge' || family.isForeign) {
    const { modules, record } = await ridgeStage(run, inputs, ridgePreset, place, ridged);
    return { modules, teacherNll: record.teacherNll, used: record.recipe };
  }
  let ridge: RidgeStage | undefined;
  if (!trained && (ridged || hasRidgeStart(options))) {
    ridge = await ridgeStage(run, inputs, autoPreset, place, ridged);
    // Gram matrices and their factors: training needs that room.
    releaseMemory();
  }
  return await qloraStage(run, inputs, { ridge, resumed: trained }, place, keep);
}

/** What ridge came to. */
export interface RidgeStage {
  modules: ModuleFactors[];
  record: RidgeRecord;
}

async function ridgeStage(
  run: OpenedRun,
  { options, skill }: Pick<RunInputs, 'options' | 'skill'>,
  preset: RidgePreset,
  { folder }: RunPlace,
  resumed: ResumableRidge | undefined,
): Promise<RidgeStage> {
  const { model, emit, signal } = run;
  const { layers } = model.hyper;
  emit({ type: 'stage', stage: 'ridge', message: 'fitting the corrections, layer by layer' });
  const { examples, prefixes, shots } = await planExamples(run, options, preset, await replaySet(run, options));
  const settings = ridgeSettings(layers, options, preset);
  if (!model.hyper.family.isForeign) {
    await requireRoom(model.engine.scratch, ridgeRoom(model.hyper, examples, settings).disk, 'the ridge stage');
  }
  if (resumed) {
    tellDamaged(emit, resumed);
    emit({ type: 'resumed', step: 0, layer: resumed.saved.state.ended ? layers : resumed.saved.state.layer });
  }
  const checkpoints = new RidgeCheckpoints(folder, resumed, (message) => emit({ type: 'warning', message }));
  using log = await DeviceLog.begin(options.maxCelsius);
  const keeper: RidgeKeeper = {
    resumed: checkpoints.resumed,
    async afterLayer(state, stores) {
      await checkpoints.afterLayer(state, stores);
      await log.rest(signal);
    },
  };
  const context = { model, emit: asStage('ridge', emit), signal };
  const problem = { examples, prefixes, skill };
  const fit = model.hyper.family.isForeign
    ? await fitForeign(context, problem, settings, keeper)
    : await fitRidge(context, problem, settings, keeper);
  const recipe = ridgeRecipe(layers, settings, fit.sweeps, shots);
  return { modules: fit.modules, record: { recipe, teacherNll: finite(fit.nll.teacher) } };
}
