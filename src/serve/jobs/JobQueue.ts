import { randomBytes } from 'node:crypto';
import { LoamError, StoppedError } from '../../base/errors.js';
import type { Run } from '../../base/events.js';
import { Mutex } from '../../base/lock.js';
import { hashOf, resolveModel } from '../../models/listModels.js';
import type { Vault } from '../../store/Vault.js';
import type { JobEvent, JobState } from '../contract/jobs.js';
import { followStored, isFinal, isOfTheMoment, type JobRequest, type LoggedEvent, type StoredJob } from './Job.js';
import { JobRun, type RunEnd } from './JobRun.js';
import { JobLog, JobStore } from './JobStore.js';

/** Milliseconds between two writes of a running job's state and events. */
const SAVE_MS = 5_000;
/** Milliseconds before a job whose process died is begun again, by how often it died without progress. */
const RETRY_MS = [2_000, 15_000];

interface QueueOptions {
  /** Told of every change of a job. */
  onChange?: (job: StoredJob) => void;
  /** Told when an adapter has got a version. */
  onAdapter?: () => void;
  /** Told of errors that are bugs. */
  onBug?: (error: unknown) => void;
  retryMs?: readonly number[];
}

/** Why a running job is being stopped. */
type Stopping = 'pause' | 'cancel' | 'keep' | 'server' | 'delete';

interface Running {
  job: StoredJob;
  run: JobRun;
  stopping?: Stopping;
  ended: Promise<void>;
}

const DATA_DELETED = 'its data set was deleted';

/** The tuning jobs of a vault: one at a time in a process of its own, the oldest first. */
export class JobQueue implements AsyncDisposable {
  private readonly jobs: Map<string, StoredJob>;
  private readonly logs = new Map<string, Promise<JobLog>>();
  private running: Running | undefined;
  /** Resolves when what is being started runs, or does not. */
  private starting: Promise<void> | undefined;
  private started = false;
  private disposed = false;
  private readonly saving = new Mutex();
  private retry: NodeJS.Timeout | undefined;

  private constructor(
    private readonly home: string,
    private readonly vault: Vault,
    private readonly store: JobStore,
    jobs: readonly StoredJob[],
    private readonly options: QueueOptions,
  ) {
    this.jobs = new Map(jobs.map((job) => [job.id, job]));
  }

  /** Jobs as they were left; nothing runs before `start`. One process at a time may have the queue of a vault open. */
  static async open(home: string, vault: Vault, options: QueueOptions = {}): Promise<JobQueue> {
    const store = new JobStore(vault);
    return new JobQueue(home, vault, store, await store.load(), options);
  }

  /** Starts what waits and resumes what was interrupted. */
  start(): void {
    this.started = true;
    for (const job of this.jobs.values()) job.deaths = 0;
    void this.next();
  }

  /** Oldest first. */
  list(): StoredJob[] {
    return [...this.jobs.values()];
  }

  /** The job that runs, or else the next one. */
  get current(): StoredJob | undefined {
    return this.running?.job ?? this.waiting()[0];
  }

  /** Process id of the run. */
  get pid(): number | undefined {
    return this.running?.run.pid;
  }

  /** @throws LoamError: not-found */
  get(id: string): StoredJob {
    const job = this.jobs.get(id);
    if (!job) throw new LoamError({ code: 'not-found', found: 'there is no such job', fix: 'see loam jobs list' });
    return job;
  }

  /** @throws LoamError: not-found for a data set or version; mismatch, if the adapter of that name has another base model */
  async add(request: JobRequest): Promise<StoredJob> {
    const { name: datasetName } = this.vault.datasets.get(request.dataset);
    if (request.heldout !== undefined) this.vault.datasets.get(request.heldout);
    for (const version of [request.start, request.teacher]) {
      if (version !== undefined) this.vault.adapters.version(version);
    }
    const { home } = this;
    const sha256 = await hashOf(await resolveModel(request.model, { home }), { home }).result;
    this.vault.adapters.requireFits(request.name, { name: request.model, sha256 });
    const job: StoredJob = {
      ...request,
      id: randomBytes(16).toString('hex'),
      datasetName,
      state: 'queued',
      createdAt: new Date().toISOString(),
      seconds: 0,
      curve: { train: [], validation: [] },
      lastEvent: 0,
      deaths: 0,
      step: 0,
    };
    await this.store.put(job);
    this.jobs.set(job.id, job);
    await this.change(job, 'queued');
    void this.next();
    return job;
  }

  /** Stops a job once its checkpoint is saved, until somebody resumes it. */
  async pause(id: string): Promise<StoredJob> {
    const job = this.get(id);
    if (this.running?.job === job) await this.stop('pause');
    else if (job.state === 'queued' || job.state === 'interrupted') await this.change(job, 'paused', 'paused');
    else if (job.state !== 'paused') throw wrongState(job, 'paused');
    return job;
  }

  /** Puts a paused, failed or cancelled job back in the queue. */
  async resume(id: string): Promise<StoredJob> {
    const job = this.get(id);
    if (job.state === 'done') throw wrongState(job, 'resumed');
    if (job.state === 'running' || job.state === 'queued') return job;
    job.deaths = 0;
    job.error = undefined;
    job.finishedAt = undefined;
    (await this.logOf(job)).reopen();
    await this.change(job, 'queued');
    void this.next();
    return job;
  }

  /**
   * Ends a job for good; its checkpoints are destroyed.
   * @param keep keeps the best state so far, unmeasured, as a version that is not in use
   */
  async cancel(id: string, { keep = false } = {}): Promise<StoredJob> {
    const job = this.get(id);
    if (isFinal(job.state)) throw wrongState(job, 'cancelled');
    if (this.running?.job === job) await this.stop(keep ? 'keep' : 'cancel');
    else await this.drop(job, 'cancelled');
    return job;
  }

  /** Removes an ended job from the list. */
  async remove(id: string): Promise<void> {
    const job = this.get(id);
    if (!isFinal(job.state)) throw wrongState(job, 'removed');
    await this.store.delete(job);
    (await this.logOf(job)).end();
    this.logs.delete(id);
    this.jobs.delete(id);
  }

  /** Ends the jobs that learn from a data set, or measure on it, which is about to be deleted. */
  async endJobsOf(dataset: string): Promise<void> {
    const affected = this.list().filter(
      (job) => !isFinal(job.state) && (job.dataset === dataset || job.heldout === dataset),
    );
    const running = affected.find((job) => job === this.running?.job);
    // The others first: the end of the one that runs would begin the next.
    await Promise.all(affected.filter((job) => job !== running).map((job) => this.drop(job, DATA_DELETED)));
    if (running) await this.stop('delete');
  }

  /** Kept events after number `after`, then what comes; those of a moment have no number. */
  async listen(id: string, after: number, signal: AbortSignal): Promise<Run<LoggedEvent, void>> {
    return (await this.logOf(this.get(id))).listen(after, signal);
  }

  private waiting(): StoredJob[] {
    const all = this.list().filter(
      ({ state, deaths }) => state === 'queued' || (state === 'interrupted' && deaths <= this.retryMs.length),
    );
    return all.sort((a, b) => Number(b.state === 'interrupted') - Number(a.state === 'interrupted'));
  }

  private get retryMs(): readonly number[] {
    return this.options.retryMs ?? RETRY_MS;
  }

  private async next(): Promise<void> {
    if (!this.started || this.disposed || this.running || this.starting) return;
    const [job] = this.waiting();
    if (!job) return;
    const delay = job.deaths > 0 ? this.retryMs[job.deaths - 1]! : 0;
    if (delay > 0 && !this.retry) {
      this.retry = setTimeout(() => {
        this.retry = undefined;
        this.begin(job);
      }, delay);
      return;
    }
    if (!this.retry) this.begin(job);
  }

  private begin(job: StoredJob): void {
    if (this.disposed || this.running || this.starting) return;
    this.starting = this.run(job)
      .catch((error: unknown) => this.fail(job, error))
      .finally(() => {
        this.starting = undefined;
        if (!this.running) void this.next();
      });
  }

  /** Whether a job may start: it may have been paused or cancelled in the meantime. */
  private waits(job: StoredJob): boolean {
    return !this.disposed && (job.state === 'queued' || job.state === 'interrupted');
  }

  private async run(job: StoredJob): Promise<void> {
    if (!this.waits(job)) return;
    const log = await this.logOf(job);
    const run = await JobRun.prepare(job, this.home, this.vault);
    if (!this.waits(job)) return;
    const message = job.state === 'interrupted' ? `resumed after it was ${job.message}` : undefined;
    const { seconds } = job;
    const began = performance.now();
    const clock = () => {
      job.seconds = seconds + (performance.now() - began) / 1000;
    };
    const timer = setInterval(() => void this.save(job), SAVE_MS);
    job.startedAt ??= new Date().toISOString();
    const ended = run
      .run({
        follow: (event) => {
          clock();
          const { stage } = job;
          this.apply(job, log, event);
          if (!isOfTheMoment(event) || job.stage !== stage) this.options.onChange?.(job);
        },
        onKept: async (adapter) => {
          job.adapter = adapter;
          await this.save(job);
        },
      })
      .then(async (end) => {
        clearInterval(timer);
        clock();
        await this.settle(job, run, end);
        this.running = undefined;
        void this.next();
      });
    this.running = { job, run, ended };
    await this.change(job, 'running', message);
  }

  private async settle(job: StoredJob, { kept }: JobRun, end: RunEnd): Promise<void> {
    const stopping = this.running?.stopping;
    if (kept) {
      job.adapter = kept;
      this.options.onAdapter?.();
    }
    if ('result' in end) {
      const { adapter: _, type: __, ...result } = end.result;
      this.apply(job, await this.logOf(job), { type: 'result', result, adapter: job.adapter });
      await this.forgetRun(job);
      return await this.change(job, 'done');
    }
    if (stopping === 'cancel' || stopping === 'keep' || stopping === 'delete') {
      await this.forgetRun(job);
      const message = kept ? 'cancelled; the best state so far is kept, not measured' : 'cancelled';
      return await this.change(job, 'cancelled', stopping === 'delete' ? DATA_DELETED : message);
    }
    if (stopping === 'pause') return await this.change(job, 'paused', 'paused');
    if (stopping === 'server') return await this.change(job, 'interrupted', 'interrupted when the server stopped');
    const { error } = end;
    if (!(error instanceof StoppedError || (error instanceof LoamError && error.code === 'process-died'))) {
      return await this.fail(job, error);
    }
    job.deaths++;
    const again = job.deaths <= this.retryMs.length;
    const memory = 'fewer layers or a smaller model take less memory';
    await this.change(
      job,
      'interrupted',
      again
        ? 'interrupted by the system'
        : `interrupted by the system ${job.deaths} times without progress; it will be tried again at the next start, or when you resume it; ${memory}`,
    );
  }

  private async fail(job: StoredJob, error: unknown): Promise<void> {
    const message = error instanceof LoamError ? error.message : 'An unexpected error, which is a bug in Loam.';
    if (!(error instanceof LoamError)) this.options.onBug?.(error);
    job.error = { message };
    await this.change(job, 'failed', message);
  }

  private async stop(why: Stopping): Promise<void> {
    const { running } = this;
    if (!running) return;
    running.stopping = why;
    // There is nothing to wait for in a run that will not be resumed.
    if (why === 'cancel' || why === 'delete') running.run.kill();
    else running.run.stop({ keepsBest: why === 'keep' });
    await running.ended;
  }

  /** Ends a job that does not run. */
  private async drop(job: StoredJob, message: string): Promise<void> {
    const begun = job.state !== 'queued';
    await Promise.all([this.change(job, 'cancelled', message), this.forgetRun(job, begun)]);
  }

  private async change(job: StoredJob, state: JobState, message?: string): Promise<void> {
    // Before anything is awaited, so that a job that ends here is not started in the meantime.
    job.state = state;
    if (isFinal(state)) job.finishedAt = new Date().toISOString();
    const log = await this.logOf(job);
    this.apply(job, log, { type: 'state', state, message });
    if (isFinal(state)) log.end();
    await this.save(job);
    this.options.onChange?.(job);
  }

  /** Follows an event, and tells it on. */
  private apply(job: StoredJob, log: JobLog, event: JobEvent): void {
    Object.assign(job, followStored(job, log.add(event)));
  }

  private async save(job: StoredJob): Promise<void> {
    await this.saving.run(async () => {
      const log = await this.logOf(job);
      // As it is now: the log must hold every event that the kept job tells of.
      const kept = structuredClone(job);
      await log.flush();
      await this.store.put(kept);
    });
  }

  /** Destroys the key of a job's checkpoints, and what can no longer be read. */
  private async forgetRun(job: StoredJob, begun = true): Promise<void> {
    const shared = this.list().some(
      (other) => other !== job && !isFinal(other.state) && other.dataset === job.dataset && other.name === job.name,
    );
    // A job that has not begun leaves the checkpoints to another one on the same data for the same adapter.
    if (begun || !shared) await JobRun.forget(job, this.home, this.vault);
  }

  private async logOf(job: StoredJob): Promise<JobLog> {
    let log = this.logs.get(job.id);
    if (!log) {
      log = JobLog.open(job.id, this.store).then((opened) => {
        if (isFinal(job.state)) opened.end();
        return opened;
      });
      this.logs.set(job.id, log);
    }
    return await log;
  }

  /** Stops the run; the next server resumes it from its checkpoint. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    clearTimeout(this.retry);
    await this.starting;
    await this.stop('server');
    for (const log of this.logs.values()) (await log).end();
  }
}

function wrongState(job: StoredJob, what: string): LoamError {
  return new LoamError({ code: 'conflict', found: `a job that is ${job.state} cannot be ${what}` });
}
