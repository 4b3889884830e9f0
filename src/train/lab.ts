import { differsInTemplate, ggufBase } from '../adapters/base.js';
import { corrections } from '../adapters/lora.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { hashFile } from '../base/io.js';
import { peakRss } from '../base/memory.js';
import { Engine } from '../engine/engine.js';
import type { Workspace } from '../engine/graph.js';
import type { ModuleFactors } from '../model/factors.js';
import { Model } from '../model/model.js';
import { Tokenizer } from '../model/tokenizer.js';
import { hashOf, type ResolvedModel } from '../models/listModels.js';
import type { Stage, TuneEvent } from './events.js';
import type { TuneOptions } from './options.js';
import { type DataFiles, type PreparedData, prepareData } from './prepare.js';

/** What the stages of a run are given, how they tell of themselves, and how a run is opened. */

/** What a stage is started with: the model, whom it tells of its progress, and what stops it. */
export interface RunContext<E = never> {
  readonly model: Model;
  readonly emit: (event: E) => void;
  readonly signal?: AbortSignal;
}

/** What the parts of a stage work with: the same, and a workspace that their graphs are computed in. The engine is the model's. */
export interface Lab<E = never> extends RunContext<E> {
  readonly workspace: Workspace;
}

/** How far a stage is, as the stage itself counts. */
export interface Progress {
  type: 'progress';
  done: number;
  total: number;
}

/** Milliseconds between two events of progress. */
const interval = 200;

/** Hands on the events of a stage, those of progress under its name and at most five a second, the last in any case. */
export function asStage(
  stage: Stage,
  emit: (event: TuneEvent) => void,
): (event: Progress | Exclude<TuneEvent, { type: 'progress' }>) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (event) => {
    if (event.type !== 'progress') return emit(event);
    const now = performance.now();
    if (now - last < interval && event.done < event.total) return;
    last = now;
    emit({ ...event, stage });
  };
}

/** A figure as events tell it: JSON has neither NaN nor infinity. */
export function figure(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** What a run has taken so far. @param started `performance.now()` then */
export function spent(started: number): { seconds: number; peakRssBytes: number } {
  return { seconds: (performance.now() - started) / 1000, peakRssBytes: peakRss() };
}

/** The figures that are finite numbers: of parts without examples there is none. */
export function finite<K extends string>(figures: Readonly<Record<K, number>>): Partial<Record<K, number>> {
  const known = Object.entries<number>(figures).filter(([, value]) => Number.isFinite(value));
  return Object.fromEntries(known) as Partial<Record<K, number>>;
}

/** A base model that is open for a run, with its engine: `await using opened = await openModel(...)`. */
export interface OpenedModel extends RunContext<TuneEvent>, AsyncDisposable {
  readonly source: ResolvedModel;
  readonly signal: AbortSignal;
}

export async function openModel(
  source: ResolvedModel,
  options: Pick<TuneOptions, 'threads'> & { scratch: string },
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<OpenedModel> {
  const { threads, scratch } = options;
  const engine = new Engine({ threads, scratch });
  try {
    const model = await Model.open(engine, source.path);
    const dispose = async () => {
      await model[Symbol.asyncDispose]();
      engine[Symbol.dispose]();
    };
    return { source, model, emit, signal, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    engine[Symbol.dispose]();
    throw error;
  }
}

/** What every run on a person's examples begins with. */
export interface OpenedRun extends OpenedModel {
  readonly tokenizer: Tokenizer;
  readonly data: PreparedData;
}

/** Opens model and tokeniser, tells of them, and prepares the data. @param options.day that the chat template is told; `scratch`: folder for what does not fit into memory */
export async function openRun(
  source: ResolvedModel,
  files: DataFiles,
  options: Parameters<typeof prepareData>[3] & Pick<TuneOptions, 'threads'> & { day?: string; scratch: string },
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<OpenedRun> {
  const opened = await openModel(source, options, emit, signal);
  const { hyper, gguf } = opened.model;
  let tokenizer: Tokenizer | undefined;
  const dispose = async () => {
    tokenizer?.[Symbol.dispose]();
    await opened[Symbol.asyncDispose]();
  };
  try {
    tokenizer = await Tokenizer.open(gguf, options.day);
    emit({
      type: 'model',
      path: source.path,
      name: gguf.string('general.name', ''),
      architecture: hyper.family.name,
      layers: hyper.layers,
      parameters: [...gguf.tensors.values()].reduce((sum, t) => sum + t.shape.reduce((p, n) => p * n, 1), 0),
    });
    const data = await prepareData(opened, tokenizer, files, options);
    return { ...opened, tokenizer, data, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** The corrections of an adapter (GGUF) of the same base model. Warns of one that learnt under another chat template. */
export async function correctionsOf(
  { model, tokenizer, emit }: OpenedRun,
  path: string | undefined,
): Promise<ModuleFactors[] | undefined> {
  if (path === undefined) return undefined;
  const adapter = await openAdapter(path, ggufBase(model), { only: 'gguf' });
  if (await differsInTemplate(adapter, tokenizer)) {
    emit({ type: 'warning', message: `${path} learnt under another chat template than this model file has` });
  }
  return corrections(adapter);
}

/** sha256 of a file, hex, telling how far it is. */
export async function hashWithProgress(
  { emit, signal }: Pick<OpenedModel, 'emit' | 'signal'>,
  path: string,
): Promise<string> {
  return await hashFile(path, signal).each((at) => emit({ type: 'progress', stage: 'hash', ...at }));
}

/** sha256 of a base model's file, telling how far it is. */
export async function modelHash({
  source,
  emit,
  signal,
}: Pick<OpenedModel, 'source' | 'emit' | 'signal'>): Promise<string> {
  return await hashOf(source, { signal }).each((at) => emit({ type: 'progress', stage: 'hash', ...at }));
}
