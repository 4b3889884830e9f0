import { Run } from '../../base/events.js';
import { Mutex } from '../../base/lock.js';
import { jsonDocument, jsonOf } from '../../store/documents.js';
import type { Vault } from '../../store/Vault.js';
import type { JobEvent } from '../contract/jobs.js';
import { followStored, isFinal, isOfTheMoment, type LoggedEvent, type StoredJob } from './Job.js';

const JOBS = 'job';
const events = (job: string) => `job-events/${job}`;

/** Milliseconds after which what could not be written is tried again. */
const RETRY_MS = 5_000;

/** Jobs and their events as encrypted documents of the vault. */
export class JobStore implements Disposable {
  private readonly saving = new Mutex();
  /** What is only in memory because it could not be written. */
  private readonly unsaved = new Map<string, [StoredJob, JobLog]>();
  private retry: NodeJS.Timeout | undefined;

  /** @param onFailure told once when a job cannot be written, until it can again */
  constructor(
    private readonly vault: Vault,
    private readonly onFailure: (job: StoredJob, error: unknown) => void = () => {},
  ) {}

  /**
   * All jobs, oldest first. A job that was running when its process was cut off is `interrupted`; one that cannot be read is left out.
   * @param alive whether a server is running that these jobs belong to
   */
  async load({ alive = false } = {}): Promise<StoredJob[]> {
    const jobs: StoredJob[] = [];
    for (const { id } of this.vault.documents.list(JOBS)) {
      const bytes = await this.vault.documents.get(JOBS, id).catch(() => undefined);
      if (!bytes) continue;
      let job = jsonOf<StoredJob>(bytes);
      // Jobs of earlier versions have none.
      job.run ??= id;
      if (!isFinal(job.state)) job = await this.catchUp(job);
      jobs.push(job.state === 'running' && !alive ? { ...job, ...interrupted } : job);
    }
    return jobs.sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id));
  }

  /** Events are written before the job: it may not yet tell of the newest. */
  private async catchUp(job: StoredJob): Promise<StoredJob> {
    const batches = await this.loadEvents(job.id);
    return batches
      .flatMap(({ logged }) => logged)
      .filter(({ n }) => n! > job.lastEvent)
      .reduce(followStored, job);
  }

  /**
   * Writes a job and what is new of its events. What cannot be written stays in memory and is tried again: a full disk ends no job.
   * @returns why not
   */
  async save(job: StoredJob, log: JobLog): Promise<unknown> {
    return await this.saving.run(async () => {
      try {
        // As it is now: the log must hold every event that the kept job tells of.
        const kept = structuredClone(job);
        await log.flush();
        await this.put(kept);
        this.unsaved.delete(job.id);
        return undefined;
      } catch (error) {
        const isFirst = !this.unsaved.has(job.id);
        this.unsaved.set(job.id, [job, log]);
        clearTimeout(this.retry);
        this.retry = setTimeout(() => void this.saveRest(), RETRY_MS).unref();
        if (isFirst) this.onFailure(job, error);
        return error;
      }
    });
  }

  private async saveRest(): Promise<void> {
    for (const [job, log] of [...this.unsaved.values()]) await this.save(job, log);
  }

  async put(job: StoredJob): Promise<void> {
    await this.vault.documents.put(JOBS, job.id, jsonDocument(job));
  }

  /** @throws TypeError for one that has not ended */
  async delete(job: StoredJob): Promise<void> {
    if (!isFinal(job.state)) throw new TypeError('a job that has not ended');
    await this.saving.run(async () => {
      await this.vault.documents.deleteKind(events(job.id));
      await this.vault.documents.delete(JOBS, job.id);
      this.unsaved.delete(job.id);
    });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.retry);
  }

  async putEvents(job: string, batch: number, logged: readonly LoggedEvent[]): Promise<void> {
    await this.vault.documents.put(events(job), String(batch).padStart(6, '0'), jsonDocument(logged));
  }

  /** In order. A batch that cannot be read is left out: events tell how it went, and nothing depends on them. */
  async loadEvents(job: string): Promise<{ batch: number; logged: LoggedEvent[] }[]> {
    const ids = this.vault.documents
      .list(events(job))
      .map(({ id }) => id)
      .sort();
    const batches: { batch: number; logged: LoggedEvent[] }[] = [];
    for (const id of ids) {
      const bytes = await this.vault.documents.get(events(job), id).catch(() => undefined);
      if (bytes) batches.push({ batch: Number(id), logged: jsonOf<LoggedEvent[]>(bytes) });
    }
    return batches;
  }
}

/**
 * A running job whose processes have died. Also one whose adapter was kept: what its run has made is found when it goes on, which then
 * tests it for private details, and tells how the run went.
 */
const interrupted = { state: 'interrupted', message: 'interrupted by the system' } as const;

/** Events of a batch that is kept as one document. */
const BATCH = 400;
/** Steps in the log: of more, every second one goes. The page draws some hundreds of points. */
const MAX_STEPS = 4000;

interface Listener {
  tell(logged: LoggedEvent): void;
  end(): void;
}

/** The events of one job under permanent numbers: a listener continues where it was, whatever was restarted in between. */
export class JobLog {
  private batches: { batch: number; logged: LoggedEvent[]; dirty: boolean }[] = [];
  private last = 0;
  private steps = 0;
  private readonly listeners = new Set<Listener>();
  private ended = false;

  private constructor(
    private readonly job: string,
    private readonly store: JobStore,
  ) {}

  static async open(job: string, store: JobStore): Promise<JobLog> {
    const log = new JobLog(job, store);
    for (const { batch, logged } of await store.loadEvents(job)) {
      log.batches.push({ batch, logged, dirty: false });
      for (const { n, event } of logged) {
        log.last = Math.max(log.last, n ?? 0);
        if (event.type === 'step') log.steps++;
      }
    }
    return log;
  }

  add(event: JobEvent): LoggedEvent {
    const passing = isOfTheMoment(event);
    const logged: LoggedEvent = passing ? { event } : { n: ++this.last, event };
    if (!passing) {
      let tail = this.batches.at(-1);
      if (!tail || tail.logged.length >= BATCH) {
        tail = { batch: (tail?.batch ?? 0) + 1, logged: [], dirty: true };
        this.batches.push(tail);
      }
      tail.logged.push(logged);
      tail.dirty = true;
      if (event.type === 'step' && ++this.steps > MAX_STEPS) this.thin();
    }
    for (const { tell } of this.listeners) tell(logged);
    return logged;
  }

  private thin(): void {
    let at = 0;
    for (const batch of this.batches) {
      const before = batch.logged.length;
      batch.logged = batch.logged.filter(({ event }) => event.type !== 'step' || at++ % 2 === 0);
      if (batch.logged.length < before) batch.dirty = true;
    }
    this.steps = Math.ceil(this.steps / 2);
  }

  /** Writes what is new. */
  async flush(): Promise<void> {
    for (const batch of this.batches) {
      if (!batch.dirty) continue;
      batch.dirty = false;
      await this.store.putEvents(this.job, batch.batch, batch.logged).catch((error: unknown) => {
        batch.dirty = true;
        throw error;
      });
    }
  }

  /** The job has ended: listeners get what there is, and their streams end. */
  end(): void {
    this.ended = true;
    for (const { end } of this.listeners) end();
  }

  /** The job was resumed after its end. */
  reopen(): void {
    this.ended = false;
  }

  /** The kept events after number `after`, then what comes. Ends with the job. */
  listen(after: number, outer: AbortSignal): Run<LoggedEvent, void> {
    return new Run(async (tell, signal) => {
      for (const { logged } of this.batches) for (const one of logged) if (one.n! > after) tell(one);
      if (this.ended) return;
      const listener: Listener = { tell, end() {} };
      this.listeners.add(listener);
      await new Promise<void>((resolve) => {
        listener.end = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
        if (signal.aborted) resolve();
      });
      this.listeners.delete(listener);
    }, outer);
  }
}
