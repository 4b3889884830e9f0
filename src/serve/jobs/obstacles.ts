import { type ErrorCode, isDiskFull, LoamError, StoppedError, stated } from '../../base/errors.js';
import { freeBytes } from '../../base/io.js';
import { failureOf, withoutPaths } from '../paths.js';
import type { StoredJob, Why } from './Job.js';

/** What ends a run of itself, and what comes of it: it is tried again if what stood in its way may go away, or has failed. */

/** Milliseconds before a job whose process died is begun again, by how often it died without progress. */
const RETRY_MS = [2_000, 15_000];
/** Milliseconds before the next try on a full disk: the first time, and at most. */
const FULL_MS = [5_000, 300_000] as const;
/** Milliseconds between two looks at whether another process has ended. */
const BUSY_MS = 2_000;
/** Bytes that must be free before a run that a full disk has ended is tried again. */
const ROOM = 8 << 20;

interface Obstacle {
  /** Time of `performance.now` before which the job is not tried. */
  until: number;
  tries: number;
  /** Whether the jobs behind it wait as well. */
  blocks: boolean;
  full: boolean;
}

/** What a job is after its run has ended without a result; a failure without a code is a bug. */
interface Outcome extends Why {
  state: 'interrupted' | 'failed';
  code?: ErrorCode;
}

/** By job, in memory only: a new server tries everything at once. */
export class Obstacles {
  private readonly met = new Map<string, Obstacle>();

  constructor(private readonly retryMs: readonly number[] = RETRY_MS) {}

  /** What is to be made of the end of a run; a death is counted. */
  after(job: StoredJob, raised: unknown): Outcome {
    const error = stated(raised);
    const obstacle = this.meet(job.id, error);
    if (obstacle !== undefined) return { state: 'interrupted', ...obstacle };
    if (error instanceof StoppedError || (error instanceof LoamError && error.code === 'process-died')) {
      return { state: 'interrupted', ...this.death(job) };
    }
    return { state: 'failed', ...failureOf(error instanceof LoamError ? asToldOfJob(error) : error) };
  }

  private death(job: StoredJob): Why {
    const ms = this.retryMs[job.deaths++];
    if (ms !== undefined) {
      this.met.set(job.id, { until: performance.now() + ms, tries: 0, blocks: true, full: false });
      return { message: 'interrupted by the system', causes: ['died'] };
    }
    const memory = 'fewer layers or a smaller model take less memory';
    const message = `interrupted by the system ${job.deaths} times without progress; it will be tried again at the next start, or when you resume it; ${memory}`;
    return { message, causes: ['hopeless'] };
  }

  /** Whether a job has died so often that it is not tried again by itself. */
  isHopeless(deaths: number): boolean {
    return deaths > this.retryMs.length;
  }

  /** What is in the way, if it may go away by itself: a full disk, an earlier process that still ends. */
  private meet(job: string, error: unknown): Why | undefined {
    if (!(error instanceof LoamError)) return undefined;
    const full = isDiskFull(error);
    if (!full && error.code !== 'busy') return undefined;
    const tries = (this.met.get(job)?.tries ?? 0) + 1;
    const [first, most] = FULL_MS;
    const wait = full ? Math.min(most, first * 2 ** (tries - 1)) : BUSY_MS;
    this.met.set(job, { until: performance.now() + wait, tries, blocks: false, full });
    const { found, where } = error.fault;
    const what = withoutPaths(where === undefined ? found : `${found} (${where})`);
    return full
      ? { message: `${what}; it goes on by itself when there is room`, causes: ['disk-full'] }
      : { message: `${what}; it goes on by itself after that`, causes: ['busy'] };
  }

  forget(job: string): void {
    this.met.delete(job);
  }

  /** Milliseconds until a job may be tried, and whether those behind it wait too. */
  of(job: string): { left: number; blocks: boolean } {
    const { until = 0, blocks = false } = this.met.get(job) ?? {};
    return { left: Math.max(0, until - performance.now()), blocks };
  }

  /** Whether there is room again for a run that a full disk has ended; if not, it is looked at later. */
  async hasRoom(job: string, home: string): Promise<boolean> {
    const obstacle = this.met.get(job);
    if (!obstacle?.full) return true;
    const free = await freeBytes(home);
    if (free === null || free >= ROOM) return true;
    obstacle.until = performance.now() + FULL_MS[0];
    return false;
  }
}

/** A run that waits for a choice names the options of the command line, which a job does not have. */
function asToldOfJob(error: LoamError): LoamError {
  if (error.code !== 'confirm') return error;
  const fix =
    'undo the change and try again, or start over: "Start over" here, `loam jobs resume --restart` in a terminal';
  return new LoamError({ ...error.fault, where: undefined, fix }, { cause: error });
}
