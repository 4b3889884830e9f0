import { LoamError } from '../../base/errors.js';
import type { Run } from '../../base/events.js';
import type { Vault } from '../../store/Vault.js';
import type { JobEvent, JobState } from '../contract/jobs.js';
import { followStored, isFinal, type LoggedEvent, type StoredJob, type Why } from './Job.js';
import { JobLog, JobStore } from './JobStore.js';

interface BookOptions {
  /** Told of every change of a job. */
  onChange?: (job: StoredJob) => void;
  /** Told of errors that are bugs. */
  onBug?: (error: unknown) => void;
}

/** All jobs, how they stand, and the events of each, in memory and in the vault. */
export class JobBook {
  /** Whether a server has time to write later what cannot be written now. Otherwise that is an error. */
  mayWait = false;
  private readonly jobs: Map<string, StoredJob>;
  private readonly logs = new Map<string, Promise<JobLog>>();
  private readonly store: JobStore;

  private constructor(
    vault: Vault,
    jobs: readonly StoredJob[],
    private readonly options: BookOptions,
  ) {
    this.jobs = new Map(jobs.map((job) => [job.id, job]));
    this.store = new JobStore(vault, (job, error) => this.tellUnsaved(job, error));
  }

  /** Jobs as they were left. */
  static async open(vault: Vault, options: BookOptions): Promise<JobBook> {
    return new JobBook(vault, await new JobStore(vault).load(), options);
  }

  /** Oldest first. */
  list(): StoredJob[] {
    return [...this.jobs.values()];
  }

  /** @throws LoamError: not-found */
  get(id: string): StoredJob {
    const job = this.jobs.get(id);
    if (!job) throw new LoamError({ code: 'not-found', found: 'there is no such job', fix: 'see loam jobs list' });
    return job;
  }

  /** @throws LoamError if it cannot be written: then it is not there */
  async add(job: StoredJob): Promise<void> {
    await this.store.put(job);
    this.jobs.set(job.id, job);
    await this.change(job, 'queued');
  }

  /** Removes one that has ended. */
  async remove(job: StoredJob): Promise<void> {
    await this.store.delete(job);
    (await this.logOf(job)).end();
    this.logs.delete(job.id);
    this.jobs.delete(job.id);
  }

  async change(job: StoredJob, state: JobState, why: Partial<Why> = {}): Promise<void> {
    const { message, causes } = why;
    // Before anything is awaited, so that a job that ends here is not started in the meantime.
    job.state = state;
    job.message = message;
    job.causes = causes;
    if (isFinal(state)) job.finishedAt = new Date().toISOString();
    const log = await this.logOf(job);
    this.apply(job, log, { type: 'state', state, message, causes });
    if (isFinal(state)) log.end();
    await this.save(job);
    this.options.onChange?.(job);
  }

  /** Follows an event, and tells it on. */
  apply(job: StoredJob, log: JobLog, event: JobEvent): void {
    Object.assign(job, followStored(job, log.add(event)));
  }

  /** @throws LoamError if it cannot be written, and nobody will try again */
  async save(job: StoredJob): Promise<void> {
    const error = await this.store.save(job, await this.logOf(job));
    if (error !== undefined && !this.mayWait) throw error;
  }

  /** The same beside other work: a failure has been told to the job. */
  saveLater(job: StoredJob): void {
    this.save(job).catch(this.unlessStated);
  }

  /** How a job stands is in memory only: the job says so. */
  private tellUnsaved(job: StoredJob, error: unknown): void {
    this.unlessStated(error);
    if (isFinal(job.state)) return;
    const why = error instanceof LoamError ? error.clause : 'an unexpected error';
    const message = `how this job stands cannot be saved, and is tried again: ${why}`;
    this.logOf(job).then((log) => this.apply(job, log, { type: 'warning', message }), this.unlessStated);
  }

  /** A stated failure, such as a vault that is locked meanwhile, is no bug. */
  readonly unlessStated = (error: unknown): void => {
    if (!(error instanceof LoamError)) this.options.onBug?.(error);
  };

  /** Kept events after number `after`, then what comes; those of a moment have no number. */
  async listen(id: string, after: number, signal: AbortSignal): Promise<Run<LoggedEvent, void>> {
    return (await this.logOf(this.get(id))).listen(after, signal);
  }

  async logOf(job: StoredJob): Promise<JobLog> {
    let log = this.logs.get(job.id);
    if (!log) {
      log = JobLog.open(job.id, this.store).then((opened) => {
        if (isFinal(job.state)) opened.end();
        return opened;
      });
      this.logs.set(job.id, log);
      // One that could not be read is tried again by whoever asks next.
      log.catch(() => this.logs.delete(job.id));
    }
    return await log;
  }

  /** Ends whoever listens. */
  async close(): Promise<void> {
    this.store[Symbol.dispose]();
    for (const log of await Promise.allSettled(this.logs.values())) if ('value' in log) log.value.end();
  }
}
