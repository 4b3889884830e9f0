import { EnergyMeter } from '../base/energy.js';
import { LoamError } from '../base/errors.js';
import { bytes, duration } from '../base/format.js';
import { readMemory } from '../base/memory.js';
import type { Engine } from '../engine/engine.js';
import type { ModuleFactors } from '../model/factors.js';
import type { Model } from '../model/model.js';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { Corrections } from './corrections.js';
import type { Quote, QuotedChoice, TuneEvent } from './events.js';
import { isKept } from './followRun.js';
import type { PreparedData } from './prepare.js';
import { figure } from './progress.js';
import { fitQlora, type QloraFit } from './qlora/fitQlora.js';
import { type LayerCosts, measureCosts, priceQlora, type QloraPrice } from './qlora/price.js';
import { packState, type QloraEvent, type QloraSettings, type QloraState, unpackState } from './qlora/state.js';
import type { RunFolder } from './runFolder.js';
import { fitBudget, type Plan } from './settings.js';

/** Seconds between checkpoints, at least; a step that takes longer is followed by one. Tests that kill runs want more of them. */
const checkpointEvery = Number(process.env.LOAM_CHECKPOINT_SECONDS ?? 15);
/** Checkpoints may take so much of the time, at most: on slow storage they become rarer. */
const checkpointShare = 0.05;
/** Longest pause between checkpoints, however slow the storage: this much work may be lost. */
const checkpointAtMost = 60;
/** Milliseconds between progress events. */
const progressMs = 200;
/** Memory that must stay free for everything else. */
const reserveBytes = 64 << 20;

export interface QloraRun {
  fit: QloraFit;
  settings: QloraSettings;
  quote: { quoted: QuotedChoice; truth: Quote } | undefined;
  /** Whatever the first stage left in the checkpoint (the teacher's figures). */
  earlier: Record<string, unknown>;
}

export interface QloraRequest {
  engine: Engine;
  model: Model;
  prepared: PreparedData;
  settings: QloraSettings;
  /** What the user chose: neither short memory nor a time budget changes it. */
  fixed: { layers: boolean; epochs: boolean };
  folder: RunFolder;
  /** Identifies the method for what this device remembers of earlier quotes. */
  key: string;
  start?: readonly ModuleFactors[];
  alternative?: readonly ModuleFactors[];
  resume?: Resumable;
  /** Plain JSON to keep with checkpoints. */
  earlier: Record<string, unknown>;
  deadline?: number;
  /** Seconds that passed before this stage. */
  before: number;
  emit: (event: TuneEvent) => void;
  signal: AbortSignal;
  /** Called when `signal` fired, after the state was saved. */
  stopped: (best: QloraFit, settings: QloraSettings) => Promise<void>;
}

/** A checkpoint that a run can go on from. */
export interface Resumable {
  state: QloraState;
  slot: 0 | 1;
  earlier: Record<string, unknown>;
  damaged: readonly { file: string; reason: string }[];
}

/** The newest whole checkpoint of a run; undefined where there is none. */
export async function findCheckpoint(folder: RunFolder): Promise<Resumable | undefined> {
  const { checkpoint, damaged } = await readCheckpoint(folder.path, folder.key);
  if (!checkpoint) return undefined;
  const state = unpackState(checkpoint.header, checkpoint.arrays);
  if (!state) return undefined;
  return {
    state,
    slot: checkpoint.slot,
    earlier: JSON.parse(String(checkpoint.header.earlier ?? '{}')) as Record<string, unknown>,
    damaged,
  };
}

/** The gradient stage: quote, training with checkpoints, comparison of quote and truth. */
export async function tuneQlora(request: QloraRequest): Promise<QloraRun> {
  const { engine, model, prepared, folder, resume, emit, signal } = request;
  const { start, alternative } = request;
  const problem = { train: prepared.train, validation: prepared.validation, start, alternative };
  const corrections = await Corrections.open();
  let { settings } = request;
  let quoted: Chosen | undefined;
  if (!resume) {
    emit({ type: 'stage', stage: 'qlora', message: 'measuring what training takes on this device' });
    const costs = await measureCosts(engine, model, prepared.train, settings, signal);
    const found = choose(model, costs, problem, request, corrections);
    settings = found.settings;
    quoted = found;
  } else {
    settings = {
      ...settings,
      recompute: resume.earlier.recompute === true,
      firstLayer: Number(resume.earlier.firstLayer),
      epochs: Number(resume.earlier.epochs),
    };
    for (const { file, reason } of resume.damaged) {
      emit({ type: 'warning', message: `${file} is damaged (${reason}); going on from the checkpoint before it` });
    }
    emit({ type: 'resumed', step: resume.state.step });
    await folder.rewindMetrics(({ step }) => typeof step !== 'number' || isKept(step, resume.state));
  }
  const { recompute, firstLayer, epochs } = settings;
  const earlier = { ...request.earlier, recompute, firstLayer, epochs };
  const meter = new EnergyMeter();
  const started = performance.now();
  let lastSave = performance.now();
  let saving = 0;
  let slot: 0 | 1 | undefined = resume ? (resume.slot === 0 ? 1 : 0) : undefined;
  const save = async (state: QloraState) => {
    const begun = performance.now();
    const { header, arrays } = packState(state);
    // After a resume the first write must not replace the checkpoint that was whole.
    const whole = { ...header, earlier: JSON.stringify(earlier) };
    await writeCheckpoint(folder.path, slot ?? 'auto', whole, arrays, folder.key);
    slot = undefined;
    lastSave = performance.now();
    saving = (lastSave - begun) / 1000;
  };
  let lastProgress = 0;
  const spent = () => request.before + (performance.now() - started) / 1000;
  const pending: Promise<void>[] = [];
  const tell = (event: QloraEvent) => {
    if (event.type === 'progress') {
      const now = performance.now();
      if (now - lastProgress < progressMs && event.done < event.total) return;
      lastProgress = now;
      emit({ ...event, stage: 'qlora' });
      return;
    }
    const full = asTuneEvent(event, spent());
    emit(full);
    meter.joules();
    pending.push(folder.record({ ...full }));
    if (event.type === 'diverged') {
      emit({
        type: 'warning',
        message: `the loss left all bounds at step ${event.step}: back to the state of step ${event.backTo}, with a learning rate of ${event.learningRate}`,
      });
    }
  };
  emit({ type: 'stage', stage: 'qlora', message: 'training by gradients' });
  const fit = await fitQlora(engine, model, problem, settings, {
    emit: tell,
    resume: resume?.state,
    deadline: request.deadline,
    signal,
    afterStep: async (step, state) => {
      await Promise.all(pending.splice(0));
      const since = (performance.now() - lastSave) / 1000;
      const every = Math.min(
        checkpointAtMost,
        Math.max(checkpointEvery, checkpointEvery > 0 ? saving / checkpointShare : 0),
      );
      if (step === 0 || since >= every) await save(state());
    },
    stopped: async (state, best) => {
      await Promise.allSettled(pending.splice(0));
      await save(state);
      await request.stopped(best, settings);
    },
  });
  await Promise.all(pending);
  const seconds = (performance.now() - started) / 1000;
  if (!quoted) return { fit, settings, quote: undefined, earlier };
  const truth: Quote = {
    seconds,
    memoryBytes: readMemory().peakRss,
    diskBytes: quoted.told.diskBytes,
    energyJoules: meter.joules(),
  };
  // A run that ended early says nothing about the quote of a whole one.
  if (fit.ended === 'schedule') await corrections.learn(`time.${request.key}`, quoted.raw.seconds, seconds);
  await corrections.learn(`memory.${request.key}`, quoted.memoryBytes, truth.memoryBytes);
  return { fit, settings, quote: { quoted: quoted.told, truth }, earlier };
}

/** An event of training with what the process adds to it. @param seconds since the run began, over all processes */
function asTuneEvent(event: Exclude<QloraEvent, { type: 'progress' }>, seconds: number): TuneEvent {
  switch (event.type) {
    case 'step': {
      const { loss, gradientNorm } = event;
      const rssBytes = readMemory().rss;
      return { ...event, loss: figure(loss), gradientNorm: figure(gradientNorm), rssBytes, seconds };
    }
    case 'validation':
      return { ...event, nll: figure(event.nll) };
    case 'diverged':
      return { ...event, loss: figure(event.loss) };
    default:
      return event;
  }
}

interface Chosen {
  raw: QloraPrice;
  /** Of the whole process, before correction. */
  memoryBytes: number;
  told: QuotedChoice;
  settings: QloraSettings;
}

/** Tells the price, chooses whether activations are computed twice, and refuses what does not fit. */
export function choose(
  model: Model,
  costs: LayerCosts,
  problem: { train: PreparedData['train']; validation: PreparedData['validation'] },
  { settings, key, emit, fixed, deadline }: Pick<QloraRequest, 'settings' | 'key' | 'emit' | 'fixed' | 'deadline'>,
  corrections: Corrections,
): Chosen {
  const { layers } = model.hyper;
  const { rss, available } = readMemory();
  const factor = corrections.correctionFor(`time.${key}`);
  const price = (trained: number, recompute: boolean, asked: Partial<QloraSettings> = { epochs }) => {
    const plain = priceQlora(model, costs, problem, { ...settings, ...asked, recompute }, trained);
    // The forward pass runs a second time: measured costs are those without.
    const again = recompute ? plain.seconds * (1 + costs.forward / costs.both) : plain.seconds;
    return { ...plain, seconds: again };
  };
  const more = corrections.correctionFor(`memory.${key}`);
  const tell = (raw: QloraPrice) => ({
    layers: raw.layers,
    recompute: raw.recompute,
    seconds: raw.seconds * factor,
    memoryBytes: more * (rss + raw.memoryBytes),
    diskBytes: raw.diskBytes,
  });
  const fits = (raw: QloraPrice) => tell(raw).memoryBytes + reserveBytes <= available + rss;
  let { epochs } = settings;
  let wanted = layers - settings.firstLayer;
  if (deadline !== undefined) {
    const left = (deadline - performance.now()) / 1000;
    // Further runs are for the time that is left over.
    const seconds = (plan: Plan) => factor * price(plan.layers, false, { epochs: plan.epochs, runs: 1 }).seconds;
    const plan = fitBudget(seconds, { layers: wanted, epochs }, fixed, left);
    if (plan.layers < wanted || plan.epochs < epochs) {
      const shorter = plan.epochs < epochs ? `${plan.epochs.toFixed(1)} epochs instead of ${epochs}` : '';
      const fewer = plan.layers < wanted ? `the top ${plan.layers} of ${wanted} layers` : '';
      emit({
        type: 'warning',
        message: `to end in time, ${[fewer, shorter].filter(Boolean).join(' and ')} are trained`,
      });
    }
    ({ layers: wanted, epochs } = plan);
  }
  let recompute = !fits(price(wanted, false));
  let raw = price(wanted, recompute);
  const refused = fits(raw) ? undefined : tell(raw);
  let most = wanted - 1;
  while (refused && most > 0 && !fits(price(most, true))) most--;
  if (refused && !fixed.layers && most > 0) {
    emit({
      type: 'warning',
      message: `training ${wanted} layers would take ${bytes(refused.memoryBytes)} of memory; the top ${most} fit and are trained`,
    });
    recompute = true;
    raw = price(most, true);
  }
  const counts = [...new Set([Math.ceil(layers / 2), Math.ceil(layers / 4)])].filter((n) => n < raw.layers);
  const cheaper = counts.map((n) => tell(price(n, recompute && !fits(price(n, false)))));
  const told = tell(raw);
  emit({ type: 'quote', ...told, availableBytes: available, cheaper });
  if (!fits(raw)) {
    throw new LoamError({
      found: `training ${wanted} layers takes about ${bytes(told.memoryBytes)} of memory (${duration(told.seconds)}), and ${bytes(available + rss)} are there`,
      fix:
        most > 0
          ? `use --layers top:${most}, which takes ${bytes(tell(price(most, true)).memoryBytes)} and ${duration(tell(price(most, true)).seconds)}, or close other programs`
          : 'use --method ridge or a smaller model, or close other programs',
    });
  }
  if (recompute) emit({ type: 'warning', message: 'activations are computed twice, because memory is short' });
  return {
    raw,
    memoryBytes: rss + raw.memoryBytes,
    told,
    settings: { ...settings, recompute, epochs, firstLayer: layers - raw.layers },
  };
}
