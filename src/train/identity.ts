import { LoamError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import { isRecord } from '../base/json.js';
import { defaults } from '../base/options.js';
import { version } from '../base/process.js';
import { defaultThreads } from '../engine/threads.js';
import { isDay } from '../model/strftime.js';
import { findCheckpoint, type Resumable } from './checkpoints.js';
import { hashWithProgress, modelHash, type OpenedRun } from './lab.js';
import { type Recipe, recipeOptions, type TuneOptions } from './options.js';
import type { Begun, RunFolder } from './runFolder.js';

/**
 * Everything that decides what a run computes, and what becomes of a stopped run in which some of it is no longer as it was. The
 * threads and the day are kept as they were. What decides the last bits only (another processor, another version) is told, and the
 * adapter says so. Anything else is asked: the run is left as it is until somebody chooses.
 */
export interface Identity {
  /** sha256, as the other files are. */
  data: string;
  heldout: string | null;
  model: string;
  teacher: string | null;
  start: string | null;
  options: Recipe;
  threads: number;
  /** The day that the chat template writes into the examples; null if it writes none. */
  day: string | null;
  version: string;
  /** What the engine's kernels were built for. */
  kernels: Record<string, string>;
  /** The interpreter, whose functions of numbers the optimiser uses: V8's major and minor version. */
  v8: string;
  /** What has differed since the run began, and was gone on with. */
  changes?: readonly string[];
}

/** What a difference in these leads to: the run goes on, and says so. */
const lastBits: readonly (keyof Identity)[] = ['threads', 'day', 'version', 'kernels', 'v8'];

export async function identify(run: OpenedRun, options: TuneOptions): Promise<Identity> {
  const { hashes } = run.data;
  const { engine } = run.model;
  const hash = async (path: string | undefined) => (path === undefined ? null : await hashWithProgress(run, path));
  return {
    data: hashes.data,
    heldout: hashes.heldout ?? null,
    model: await modelHash(run),
    teacher: await hash(options.teacher),
    start: await hash(options.start),
    options: chosen(options),
    threads: engine.threads,
    day: run.tokenizer.day ?? null,
    version,
    kernels: engine.build,
    v8: process.versions.v8.split('.').slice(0, 2).join('.'),
  };
}

/** The options that decide what an adapter becomes, as given or by default. */
function chosen(options: TuneOptions): Recipe {
  const names = Object.keys(recipeOptions) as (keyof typeof recipeOptions)[];
  return Object.fromEntries(names.map((name) => [name, options[name]])) as Recipe;
}

/** What of a stopped run is used again, whatever this device has now: a choice of the user goes first. */
export interface Kept {
  threads: number | undefined;
  day: string | undefined;
}

/** @param begun what the folder says of a run that has left checkpoints */
export function keptOf(begun: Begun | undefined, options: Pick<TuneOptions, 'threads'>): Kept {
  const { identity, startedAt } = begun ?? {};
  const threads = Number.isSafeInteger(identity?.threads) ? (identity!.threads as number) : undefined;
  // Earlier versions did not note the day, which was that of the beginning.
  const day = identity && 'day' in identity ? identity.day : startedAt?.slice(0, 10);
  return {
    threads: options.threads ?? (threads !== undefined && threads >= 1 && threads <= 512 ? threads : undefined),
    day: isDay(day) ? day : undefined,
  };
}

/** A stopped run that goes on. */
export interface Unfinished {
  resumable: Resumable;
  /** With what has changed. */
  identity: Identity;
}

/**
 * The stopped run of an output, if it can go on and the user wants that. Nothing of it is removed or changed here unless it goes on.
 * @throws LoamError (confirm) for a stopped run that cannot go on as things are: `--restart` gives it up
 */
export async function findUnfinished(
  { emit }: Pick<OpenedRun, 'emit'>,
  options: Pick<TuneOptions, 'restart' | 'resume' | 'threads'>,
  now: Identity,
  folder: RunFolder,
): Promise<Unfinished | undefined> {
  if (options.restart) return undefined;
  if (!(await folder.hasCheckpoints())) {
    if (options.resume) throw nothingToResume(folder);
    return undefined;
  }
  const begun = await folder.begun();
  const { resumable, reasons } = await findCheckpoint(folder);
  const { asks, changes } = typeof begun === 'object' ? compare(now, begun.identity) : { asks: [begun], changes: [] };
  if (!resumable || asks.length > 0) {
    // Of a checkpoint that is damaged, its identity does not matter.
    throw mustChoose(resumable ? asks : reasons, options, folder, resumable?.at);
  }
  const available = defaultThreads();
  const others = options.threads === undefined && now.threads !== available;
  if (options.resume && (changes.length > 0 || others)) {
    const threads = others ? compareIdentity({ threads: available }, { threads: now.threads }) : [];
    throw notAsItWas([...threads, ...changes], folder, resumable.at);
  }
  const { identity: before } = begun as Begun;
  const remembered = Array.isArray(before.changes) ? before.changes.map(String) : [];
  const told = changes.map((change) => `not bit-identical since ${resumable.at}: ${change}`);
  if (changes.length > 0) {
    const message = `the stopped run goes on where not everything is as it was, so its adapter will not be bit-identical to that of an undisturbed one: ${listFirst(changes)}`;
    emit({ type: 'warning', message });
  }
  if (others) {
    const message = `the stopped run goes on with the ${now.threads === 1 ? '1 thread' : `${now.threads} threads`} that it began with; --threads ${available} uses those of this device as it is now, and gives other last bits`;
    emit({ type: 'warning', message });
  }
  const all = [...remembered, ...told];
  const identity = { ...now, ...(all.length > 0 && { changes: all }) };
  if (changes.length > 0) await folder.goOn(identity);
  return { resumable, identity };
}

function nothingToResume(folder: RunFolder): LoamError {
  return new LoamError({
    code: 'not-found',
    found: 'there is no stopped run of this output to resume',
    where: folder.path,
    fix: 'leave out --resume',
  });
}

/** Of a run that could go on, if the user had not asked to be told. */
function notAsItWas(differences: readonly string[], folder: RunFolder, at: string): LoamError {
  return new LoamError({
    code: 'conflict',
    found: `not everything is as it was when this run was stopped (${at}): ${listFirst(differences)}`,
    where: folder.path,
    fix: 'leave out --resume to go on all the same',
  });
}

function mustChoose(
  differences: readonly string[],
  { resume }: Pick<TuneOptions, 'resume'>,
  folder: RunFolder,
  at: string | undefined,
): LoamError {
  const stated = listFirst(differences);
  return new LoamError({
    code: resume ? 'conflict' : 'confirm',
    found:
      at === undefined
        ? `a stopped run of this output cannot be read: ${stated}`
        : `the stopped run of this output (${at}) had other inputs or settings: ${stated}`,
    where: folder.path,
    fix: `${at === undefined ? '' : 'use what it had to go on with it, '}give it up and start over with --restart, or choose another --out`,
  });
}

/** What options amounted to before there were any, where it was not what is now the default. */
const before = { replay: 0 } as const;

/** What differs from when a run began: what must be asked, and what decides the last bits only. A clause for each. */
export function compare(now: Identity, began: Record<string, unknown>): { asks: string[]; changes: string[] } {
  const part = (identity: object, wanted: boolean) =>
    Object.fromEntries(
      Object.entries(identity).filter(
        ([key]) => key !== 'changes' && (lastBits as readonly string[]).includes(key) === wanted,
      ),
    );
  // An option that the earlier version did not have was what it is by default now, unless the default changed what is computed.
  const options = { ...defaults(recipeOptions), ...before, ...(began.options as object | undefined) };
  return {
    asks: compareIdentity(part(now, false), { ...part(began, false), options }),
    changes: compareIdentity(part(now, true), part(began, true)),
  };
}

/** Characters of a value shown in a sentence: a SHA-256 fits. */
const SHOWN = 80;

/**
 * What differs between two plain JSON objects, key by key, nested keys joined by dots: one clause per difference, in the order of
 * `expected`, then keys only `found` has. Keys that are undefined count as absent; lists are compared as a whole.
 *
 * @param found as it is now
 * @param expected as it was when the run began
 */
export function compareIdentity(found: object, expected: object): string[] {
  const [now, then] = [flatten(found), flatten(expected)];
  return [...new Set([...then.keys(), ...now.keys()])]
    .filter((key) => now.get(key) !== then.get(key))
    .map((key) => `${key}: found ${show(now.get(key))}, expected ${show(then.get(key))}`);
}

/** Leaves by their path, as JSON text. */
function flatten(identity: object): Map<string, string> {
  const leaves = new Map<string, string>();
  const visit = (value: unknown, path: string) => {
    if (isRecord(value)) {
      for (const [key, inner] of Object.entries(value)) visit(inner, path === '' ? key : `${path}.${key}`);
    } else {
      leaves.set(path, JSON.stringify(value));
    }
  };
  // Both sides as they would stand in the file.
  visit(JSON.parse(JSON.stringify(identity)), '');
  return leaves;
}

function show(leaf: string | undefined): string {
  if (leaf === undefined) return 'nothing';
  return leaf.length > SHOWN ? `${leaf.slice(0, SHOWN)}…` : leaf;
}
