import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, type Fault, LoamError, StoppedError, throwIfStopped } from '../base/errors.js';
import type { PartialFile } from './partial.js';

/** What the parts of a download share: its events, its context, how a source fails and what may mend that. */

/** Events of a download; each is plain JSON. */
export type FetchEvent =
  /** Another process holds the lock of this model; its process id. */
  | { type: 'waiting'; pid: number; lock: string }
  | { type: 'source'; source: string; index: number; of: number }
  /** Hashing what is on disk already. */
  | { type: 'checking'; done: number; total: number }
  /** Bytes present of bytes in all, those of earlier runs included. */
  | { type: 'progress'; stage: 'download' | 'unpack'; done: number; total: number }
  | { type: 'retry'; reason: string; seconds: number; attempt: number; of: number }
  | { type: 'source-failed'; source: string; reason: string }
  | ({ type: 'done' } & FetchedModel);

export interface FetchedModel {
  name: string;
  path: string;
  bytes: number;
  sha256: string;
  /** The source that served it, in words; null when it was on disk already and its origin is not recorded. */
  source: string | null;
  alreadyThere: boolean;
}

/** Times and limits of a download; tests shorten them. */
export interface FetchTiming {
  /** No byte for so long is a stall, milliseconds. */
  stallMs: number;
  /** First pause before trying again; it doubles each time. */
  backoffMs: number;
  /** A server that asks for a longer pause than this is given up. */
  maxWaitMs: number;
  lockPollMs: number;
  /** Least time between two progress events. */
  progressMs: number;
  /** Tries without progress before a source is given up. */
  retries: number;
}

/** Where and how a download works. */
export interface FetchContext {
  /** LOAM_HOME/models. */
  folder: string;
  /** Base URL of the hub. */
  endpoint: URL;
  /** HF_TOKEN, sent to the hub's own host only and only after it has refused an anonymous request. */
  token: string | undefined;
  emit: (event: FetchEvent) => void;
  signal: AbortSignal;
  timing: FetchTiming;
  /** Commands that may run pip, tried in turn. */
  pip: readonly (readonly string[])[];
  /** Free bytes of the disk that holds a folder; null if the system does not say. */
  freeBytes: (folder: string) => Promise<number | null>;
}

/** What the whole file must be. */
export interface Expected {
  size: number;
  /** Hex. */
  sha256: string;
  /** Commit of the hub's repository, if it is known. */
  commit: string | null;
}

/** One source at work on one file; `fetchModel` walks through its steps. They throw SourceError, LoamError and StoppedError. */
export interface Supply {
  /** Whom messages name. */
  host: string;
  /** What the file's name ends in until it is whole. */
  ending: string;
  /** Counts in what can be used of an earlier run. Absent: nothing can. */
  resume?(partial: PartialFile): Promise<void>;
  /** Appends what is missing. */
  fill(partial: PartialFile): Promise<Expected>;
  /** Deletes what else is kept between runs: the model is whole, or this content is not the model. */
  discard?(): Promise<void>;
}

/** What may still bring the file after a source has failed: see the table of `fetchModel`. */
export type Remedy = 'none' | 'retry' | 'wait' | 'reconnect' | 'restart' | 'refetch';

const remedies: Partial<Record<ErrorCode, Remedy>> = {
  network: 'retry',
  busy: 'wait',
  conflict: 'restart',
  checksum: 'refetch',
  damaged: 'refetch',
  'wrong-format': 'refetch',
};

/** One source of a model failed. Another source may still do. */
export class SourceError extends LoamError {
  override readonly name = 'SourceError';
  readonly remedy: Remedy;
  /** Pause before the next try, milliseconds, if the server asked for one or none is needed. */
  readonly waitMs: number | undefined;
  /** The remedy is that of the code unless it is given. */
  constructor(
    fault: Fault & { code: ErrorCode },
    { remedy, waitMs, cause }: { remedy?: Remedy; waitMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(fault, { cause });
    this.remedy = remedy ?? remedies[fault.code] ?? 'none';
    this.waitMs = waitMs;
  }
}

/** Waits so many milliseconds; StoppedError as soon as the signal fires. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfStopped(signal);
  try {
    await sleep(milliseconds, undefined, { signal });
  } catch {
    throw new StoppedError();
  }
}

/** Says whether it is time for another progress event: at most one every `milliseconds`, the first at once. */
export function throttle(milliseconds: number): () => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - last < milliseconds) return false;
    last = now;
    return true;
  };
}
