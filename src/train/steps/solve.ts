import { mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LoamError, throwIfStopped, UsageError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { nearestFolder, requireWritable } from '../../base/io.js';
import { version } from '../../base/process.js';
import { Engine } from '../../engine/engine.js';
import type { ModuleFactors } from '../../model/factors.js';
import type { FittedEvent, TuneEvent } from '../events.js';
import { asStage, finite, openModel, spent } from '../lab.js';
import type { LearntPart } from '../ridge/examples.js';
import { fitStudent, type RidgeFit } from '../ridge/fitRidge.js';
import { LinearSolver, type LinearToSolve, type RidgeSettings } from '../ridge/solver.js';
import type { RowSink } from '../ridge/target.js';
import { linearName, openRidgeLab, type RidgeLab, WalkProgress, workspaceNodes } from '../ridge/walk.js';
import { requireRoom, ridgeRoom } from '../room.js';
import { ridgePreset, ridgeRecipe, ridgeSettings } from '../settings.js';
import { requireCorrectable, requireTokens, resolveBase } from './base.js';
import {
  factorsFingerprint,
  hasFactors,
  layerMapName,
  readFactors,
  type SolvedLinear,
  writeFactors,
} from './factorsFolder.js';
import type { EmbeddedLinear } from './header.js';
import { type ActivationsFile, openActivations } from './openActivations.js';
import { type PipelineEvent, requireOut, type SolveOptions, type SolveResult } from './options.js';
import { recordedTeacher } from './recording.js';

type Emit = (event: PipelineEvent) => void;

/**
 * Second step of the pipeline: activations to low-rank factors, a pair of .npy files per linear and `factors.json` (docs/pipeline.md).
 *
 * A file of all linears is solved layer by layer, the model walking along, as in `tune`; or, with the order `together`, from its arrays
 * alone. A file of one step is solved from its arrays, and its factors join those that were applied to the student.
 *
 * @param path a file that `embed` or `embedStep` wrote
 */
export function solve(path: string, options: SolveOptions, signal?: AbortSignal): Run<PipelineEvent, SolveResult> {
  return new Run((emit, inner) => run(path, options, emit, inner), signal);
}

async function run(path: string, options: SolveOptions, emit: Emit, signal: AbortSignal): Promise<SolveResult> {
  const started = performance.now();
  const out = requireOut(options.out);
  await using file = await openActivations(path);
  const { header } = file;
  const step = header.kind === 'step';
  const arrays = step || options.order === 'together';
  if (arrays) refuseWalkingOptions(options, step);
  if (arrays && header.teacherOnly) {
    throw new LoamError({
      code: 'invalid-data',
      found: "the student's activations were left out of this file",
      where: path,
      fix: 'solve it in the order layers, or make it without --teacher-only',
    });
  }
  await requireWritable(join(out, layerMapName));
  const before = step ? await stepsBefore(out, file) : await factorsOfWith(out, options);
  const notes = new Map<string, Note>(before.map((linear) => [linearName(linear), linear]));
  const preset = { ...ridgePreset, sweeps: arrays ? 0 : ridgePreset.sweeps };
  const layers = { top: header.layers - header.firstLayer };
  const settings = ridgeSettings(header.layers, { ...options, layers }, preset);
  const hear = (event: TuneEvent) => {
    if (event.type === 'fitted') notes.set(linearName(event), noteOf(event));
    emit(event);
  };
  const task = { file, options, settings, before };
  const fit = await (arrays ? fromArrays : alongModel)(task, hear, signal);
  const linears = fit.modules.map((module): SolvedLinear => {
    const { lambda, explained, swept } = notes.get(linearName(module)) ?? {};
    const now = fit.sweeps > 0 && module.layer >= settings.firstSweepLayer;
    return { ...module, lambda, explained, ...(now || swept ? { swept: true } : {}) };
  });
  await mkdir(out, { recursive: true });
  await writeFactors(out, { model: header.model, linears, recipe: recipe(task, fit.sweeps) }, version);
  return {
    type: 'result',
    factors: out,
    order: step ? 'step' : options.order,
    corrected: linears.filter(({ factors }) => factors.rank > 0).length,
    linears: linears.length,
    sweeps: fit.sweeps,
    nll: { teacher: header.nll.teacher, ...(fit.nll ? { student: finite(fit.nll) } : {}) },
    ...spent(started),
  };
}

type Note = Pick<SolvedLinear, 'lambda' | 'explained' | 'swept'>;

function noteOf({ lambda, explained, error }: FittedEvent): Note {
  return { lambda, explained: { train: explained, ...(error === undefined ? {} : { validation: 1 - error }) } };
}

/** Options of the walk mean nothing if only arrays are read. */
function refuseWalkingOptions({ sweeps, model, with: given }: SolveOptions, step: boolean): void {
  const named = { '--sweeps': sweeps || undefined, '--model': model, '--with': given };
  for (const [flag, value] of Object.entries(named)) {
    if (value === undefined) continue;
    throw new UsageError({
      found: `${flag}, which means nothing when only the arrays of the file are solved`,
      fix: step ? 'leave it out for a file of one step' : 'leave it out, or --order together',
    });
  }
}

/**
 * The factors that a step's join.
 * @throws LoamError if the folder holds others than were applied to the student
 */
async function stepsBefore(out: string, { path, header }: ActivationsFile): Promise<SolvedLinear[]> {
  const before = (await hasFactors(out)) ? (await readFactors(out)).linears : [];
  const name = linearName(header.linears[0]!);
  if (before.some((linear) => linearName(linear) === name)) {
    throw new LoamError({
      code: 'exists',
      found: `this folder has a correction of ${name} already`,
      where: out,
      fix: 'to solve it again, take it and those after it out of factors.json',
    });
  }
  if (factorsFingerprint(before) === header.given) return before;
  throw new LoamError({
    code: 'mismatch',
    found: `${path} was made with other corrections than this folder holds`,
    where: out,
    fix: 'make it again with `loam embed --with` and this folder',
  });
}

/**
 * The factors of --with.
 * @throws LoamError if the folder of --out holds anything else, which would be lost
 */
async function factorsOfWith(out: string, options: SolveOptions): Promise<SolvedLinear[]> {
  const from = options.with === undefined ? undefined : resolve(options.with);
  if (from !== out && (await readdir(out).catch(() => [])).length > 0) {
    throw new LoamError({
      code: 'exists',
      found: 'this folder is not empty',
      where: out,
      fix: 'choose another one for --out, or keep its factors with --with and the same folder',
    });
  }
  return from === undefined ? [] : (await readFactors(from)).linears;
}

interface Task {
  file: ActivationsFile;
  options: SolveOptions;
  settings: RidgeSettings;
  /** Corrections that are there already. */
  before: readonly SolvedLinear[];
}

interface Solved {
  modules: ModuleFactors[];
  sweeps: number;
  nll?: RidgeFit['nll']['student'];
}

/** Layer by layer: the student walks through the model, and the teacher's side comes out of the file. */
async function alongModel(
  { file, options, settings, before }: Task,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<Solved> {
  const source = await resolveBase(options.model, file.header.model, file.path, { emit, signal });
  await using opened = await openModel(
    source,
    { threads: options.threads, scratch: await nearestFolder(options.out!) },
    emit,
    signal,
  );
  const { model } = opened;
  requireTokens(file, model.hyper);
  requireCorrectable(before, file.header, model.hyper, options.with ?? '');
  const room = ridgeRoom(model.hyper, file.examples, { teaches: false, sweeps: settings.sweeps });
  await requireRoom(model.engine.scratch, room.disk, 'solving');
  emit({ type: 'stage', stage: 'ridge', message: 'fitting the corrections, layer by layer' });
  using lab = openRidgeLab({ model, emit: asStage('ridge', emit), signal });
  const { modules, sweeps, nll } = await fitStudent(lab, file.examples, recordedTeacher(file), settings, {
    given: before,
  });
  return { modules, sweeps, nll: nll.student };
}

/** From the arrays alone: all linears of the file, each as if the others were not corrected, or the one of a step. */
async function fromArrays(
  { file, options, settings, before }: Task,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<Solved> {
  emit({ type: 'stage', stage: 'ridge', message: 'solving from the arrays' });
  using engine = new Engine({ threads: options.threads });
  using workspace = engine.workspace(workspaceNodes);
  const lab = { workspace, emit: asStage('ridge', emit), signal };
  const solved = [...before].sort((p, q) => p.layer - q.layer);
  const chosen = solved.flatMap(({ module, lambda }) => (lambda === undefined ? [] : [[module, lambda]]));
  const solver = new LinearSolver(lab, settings, Object.fromEntries(chosen));
  const progress = new WalkProgress(lab.emit);
  const rows = file.batches.reduce((sum, batch) => sum + batch.rows, 0);
  progress.total = rows * file.header.linears.length;
  const modules: ModuleFactors[] = [...before];
  for (const linear of file.header.linears) {
    const factors = await solver.solve(await shapeOf(file, linear), (sinks) =>
      readRows({ ...lab, progress }, file, linear, sinks),
    );
    modules.push({ layer: linear.layer, module: linear.module, factors });
  }
  return { modules, sweeps: 0 };
}

async function shapeOf(file: ActivationsFile, linear: EmbeddedLinear): Promise<LinearToSolve> {
  return { ...linear, outputs: file.header.embedding, weights: await file.weights(linear) };
}

/**
 * Hands the rows of one linear to the statistics: inputs X, targets Y = teacher - student (or what became of that on its way back
 * through a norm), in the batches in which they were walked, so the sums are those of `tune`, bit for bit.
 */
async function readRows(
  { workspace, progress, signal }: Omit<RidgeLab, 'model' | 'emit'>,
  file: ActivationsFile,
  linear: EmbeddedLinear,
  sinks: Record<LearntPart, RowSink>,
): Promise<void> {
  const { embedding } = file.header;
  for (const [batch, { rows, part }] of file.batches.entries()) {
    throwIfStopped(signal);
    if (rows === 0 || part === 'heldout' || part === 'general') continue;
    const sink = sinks[part];
    const g = workspace.begin();
    const read = async (kind: 'inputs' | 'teacher' | 'student' | 'target') => {
      const width = kind === 'inputs' ? linear.inputs : embedding;
      return g.input('f32', [width, rows], await file.rows(linear, kind).read(batch));
    };
    const x = await read('inputs');
    sink.add(g, x, linear.normed ? await read('target') : g.sub(await read('teacher'), await read('student')));
    await g.compute(signal);
    await sink.computed();
    progress.add(rows);
  }
}

/** What an adapter says of how it was made, in the words of `tune`. */
function recipe({ file: { header }, options, settings }: Task, kept: number): Record<string, unknown> {
  const { rank, lambda, sweeps, order } = options;
  const { data, heldout, teacher } = header.sources;
  return {
    method: 'ridge',
    ...header.settings,
    rank,
    lambda,
    sweeps,
    order: header.kind === 'step' ? 'steps' : order,
    used: ridgeRecipe(header.layers, settings, kept, header.shots),
    data,
    heldout: heldout ?? undefined,
    teacher: teacher ?? undefined,
  };
}
