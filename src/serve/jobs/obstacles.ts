import { isDiskFull, LoamError } from '../../base/errors.js';
import { freeBytes } from '../../base/io.js';

/** What may stand in the way of a run and go away by itself: a full disk, an earlier process that still ends, a process that was killed. */

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

/** By job, in memory only: a new server tries everything at once. */
export class Obstacles {
  private readonly met = new Map<string, Obstacle>();

  /** @returns what is in the way, if that is why a run has failed and it may go away by itself */
  meet(job: string, error: unknown): string | undefined {
    if (!(error instanceof LoamError)) return undefined;
    const full = isDiskFull(error);
    if (!full && error.code !== 'busy') return undefined;
    const tries = (this.met.get(job)?.tries ?? 0) + 1;
    const [first, most] = FULL_MS;
    const wait = full ? Math.min(most, first * 2 ** (tries - 1)) : BUSY_MS;
    this.met.set(job, { until: performance.now() + wait, tries, blocks: false, full });
    const { found, where } = error.fault;
    const what = where === undefined ? found : `${found} (${where})`;
    return full ? `${what}; it goes on by itself when there is room` : `${what}; it goes on by itself after that`;
  }

  /** Not before so many milliseconds, and the jobs behind it wait with it. */
  pause(job: string, ms: number): void {
    this.met.set(job, { until: performance.now() + ms, tries: 0, blocks: true, full: false });
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
export function asToldOfJob(error: LoamError): LoamError {
  if (error.code !== 'confirm') return error;
  const fix =
    'undo the change and try again, or start over: "Start over" here, `loam jobs resume --restart` in a terminal';
  return new LoamError({ ...error.fault, where: undefined, fix }, { cause: error });
}
