import { LoamError } from '../../base/errors.js';
import type { Run } from '../../base/events.js';
import { hashOf, resolveModel } from '../../models/listModels.js';
import { newId } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import { isFinal, isOfTheMoment, type JobRequest, type LoggedEvent, type StoredJob } from './Job.js';
import { JobBook } from './JobBook.js';
import { JobRun, type RunEnd } from './JobRun.js';
import type { JobLog } from './JobStore.js';
import { Obstacles } from './obstacles.js';

/** Milliseconds between two writes of a running job's state and events. */
const SAVE_MS = 5_000;

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
  /** What its end is to say. */
  message?: string;
  ended: Promise<void>;
}

const BEST_KEPT = 'cancelled; the best state so far is kept, not measured';

/** The tuning jobs of a vault: one at a time in a process of its own, the oldest first. */
export class JobQueue implements AsyncDisposable {
  private running: Running | undefined;
  /** Resolves when what is being started runs, or does not. */
  private starting: Promise<void> | undefined;
  private started = false;
  private disposed = false;
  private readonly obstacles: Obstacles;
  private retry: NodeJS.Timeout | undefined;

  private constructor(
    private readonly home: string,
    private readonly vault: Vault,
    private readonly book: JobBook,
    private readonly options: QueueOptions,
  ) {
    this.obstacles = new Obstacles(options.retryMs);
  }

  /** Jobs as they were left; nothing runs before `start`. One process at a time may have the queue of a vault open. */
  static async open(home: string, vault: Vault, options: QueueOptions = {}): Promise<JobQueue> {
    return new JobQueue(home, vault, await JobBook.open(vault, options), options);
  }

  /** Starts what waits and resumes what was interrupted. */
  start(): void {
    this.started = true;
    this.book.mayWait = true;
    for (const job of this.list()) job.deaths = 0;
    void this.forgetLeft();
    this.next();
  }

  /** Oldest first. */
  list(): StoredJob[] {
    return this.book.list();
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
    return this.book.get(id);
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
      id: newId(),
      run: newId(),
      datasetName,
      state: 'queued',
      createdAt: new Date().toISOString(),
      seconds: 0,
      curve: { train: [], validation: [] },
      lastEvent: 0,
      deaths: 0,
      step: 0,
    };
    await this.book.add(job);
    this.next();
    return job;
  }

  /** Stops a job once its checkpoint is saved, until somebody resumes it. */
  async pause(id: string): Promise<StoredJob> {
    const job = this.get(id);
    if (this.running?.job === job) await this.stop('pause');
    else if (job.state === 'queued' || job.state === 'interrupted') await this.book.change(job, 'paused', 'paused');
    else if (job.state !== 'paused') throw wrongState(job, 'paused');
    return job;
  }

  /** Puts a paused, failed or cancelled job back in the queue. @param restart destroys its checkpoints first, and starts over */
  async resume(id: string, { restart = false } = {}): Promise<StoredJob> {
    const job = this.get(id);
    if (job.state === 'done') throw wrongState(job, 'resumed');
    if (job.state === 'running' || job.state === 'queued') return job;
    // Its checkpoints were destroyed: what comes is another run.
    if (restart) await this.forgetRun(job);
    if (restart || job.state === 'cancelled') job.run = newId();
    this.obstacles.forget(id);
    job.deaths = 0;
    job.error = undefined;
    job.finishedAt = undefined;
    (await this.book.logOf(job)).reopen();
    await this.book.change(job, 'queued');
    this.next();
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

  /** Removes an ended job from the list, and what its run has left: a failed one could have been started over until now. */
  async remove(id: string): Promise<void> {
    const job = this.get(id);
    if (!isFinal(job.state)) throw wrongState(job, 'removed');
    await JobRun.forget(job, this.home, this.vault);
    await this.book.remove(job);
    this.obstacles.forget(id);
  }

  /** Ends the jobs that use one of these data sets or versions, which are about to be deleted. */
  async endJobsOf(ids: ReadonlySet<string>): Promise<void> {
    await this.endWithout((id) => !ids.has(id));
  }

  /** Ends the jobs that use a data set or version which is not in the vault any more, whoever has deleted it. */
  async endOrphans(): Promise<void> {
    const { adapters, datasets } = this.vault;
    const versions = adapters.list().flatMap((adapter) => adapter.versions);
    const there = new Set([...datasets.list(), ...versions].map(({ id }) => id));
    await this.endWithout((id) => there.has(id));
  }

  private async endWithout(isThere: (id: string) => boolean): Promise<void> {
    const affected = this.list().flatMap((job) => {
      const missing = isFinal(job.state) ? undefined : missingSource(job, isThere);
      return missing === undefined ? [] : [{ job, message: `${missing} was deleted` }];
    });
    const running = affected.find(({ job }) => job === this.running?.job);
    // The others first: the end of the one that runs would begin the next.
    await Promise.all(affected.filter((one) => one !== running).map(({ job, message }) => this.drop(job, message)));
    if (running) await this.stop('delete', running.message);
  }

  /** Kept events after number `after`, then what comes; those of a moment have no number. */
  async listen(id: string, after: number, signal: AbortSignal): Promise<Run<LoggedEvent, void>> {
    return await this.book.listen(id, after, signal);
  }

  private waiting(): StoredJob[] {
    const all = this.list().filter(
      ({ state, deaths }) => state === 'queued' || (state === 'interrupted' && !this.obstacles.isHopeless(deaths)),
    );
    return all.sort((a, b) => Number(b.state === 'interrupted') - Number(a.state === 'interrupted'));
  }

  private next(): void {
    if (!this.started || this.disposed || this.running || this.starting) return;
    clearTimeout(this.retry);
    let soonest = Number.POSITIVE_INFINITY;
    for (const job of this.waiting()) {
      const { left, blocks } = this.obstacles.of(job.id);
      if (left === 0) {
        this.begin(job);
        return;
      }
      soonest = Math.min(soonest, left);
      if (blocks) break;
    }
    if (Number.isFinite(soonest)) this.retry = setTimeout(() => this.next(), Math.ceil(soonest));
  }

  private begin(job: StoredJob): void {
    this.starting = this.run(job)
      .catch((error: unknown) => this.settle(job, { error }))
      .catch(this.book.unlessStated)
      .finally(() => {
        this.starting = undefined;
        this.next();
      });
  }

  /** Whether a job may start: it may have been paused or cancelled in the meantime. */
  private waits(job: StoredJob): boolean {
    return !this.disposed && (job.state === 'queued' || job.state === 'interrupted');
  }

  private async run(job: StoredJob): Promise<void> {
    if (!this.waits(job) || !(await this.obstacles.hasRoom(job.id, this.home))) return;
    const log = await this.book.logOf(job);
    const run = await JobRun.prepare(job, this.home, this.vault);
    if (!this.waits(job)) return;
    const message = resumption(job);
    job.startedAt ??= new Date().toISOString();
    const ended = this.follow(job, log, run)
      .then((end) => this.settle(job, end, run))
      .catch(this.book.unlessStated)
      .finally(() => {
        this.running = undefined;
        this.next();
      });
    this.running = { job, run, ended };
    await this.book.change(job, 'running', message);
  }

  /** A run to its end, with its events and its time in the job. Never rejects. */
  private async follow(job: StoredJob, log: JobLog, run: JobRun): Promise<RunEnd> {
    const { seconds } = job;
    const began = performance.now();
    const clock = () => {
      job.seconds = seconds + (performance.now() - began) / 1000;
    };
    const timer = setInterval(() => this.book.saveLater(job), SAVE_MS);
    const end = await run.run({
      follow: (event) => {
        clock();
        const { stage } = job;
        this.book.apply(job, log, event);
        if (!isOfTheMoment(event) || job.stage !== stage) this.options.onChange?.(job);
      },
      onKept: ({ id, adapter, run }) => {
        this.options.onAdapter?.();
        if (!run?.ended) return;
        job.adapter = { id: adapter, version: id };
        this.book.saveLater(job);
      },
    });
    clearInterval(timer);
    clock();
    return end;
  }

  /** What has become of a run. A version that it has made counts, however its processes ended. */
  private async settle(job: StoredJob, end: RunEnd, run?: JobRun): Promise<void> {
    const stopping = this.running?.job === job ? this.running.stopping : undefined;
    const made = run?.made;
    if (made) job.adapter = { id: made.adapter, version: made.id };
    if (stopping === 'delete') return await this.finish(job, 'cancelled', this.running?.message);
    if (made?.run?.ended || !('error' in end)) {
      if (made?.run?.ended === false) return await this.finish(job, 'cancelled', BEST_KEPT);
      const result = 'error' in end ? run?.figures() : end.result;
      if (result) this.book.apply(job, await this.book.logOf(job), { type: 'result', result, adapter: job.adapter });
      return await this.finish(job, 'done');
    }
    if (stopping === 'cancel' || stopping === 'keep') {
      return await this.finish(job, 'cancelled', made ? BEST_KEPT : 'cancelled');
    }
    if (stopping === 'pause') return await this.book.change(job, 'paused', 'paused');
    if (stopping === 'server') return await this.book.change(job, 'interrupted', 'interrupted when the server stopped');
    await this.interrupt(job, end.error);
  }

  /** A run that has ended of itself: it is tried again if that may help, or has failed. */
  private async interrupt(job: StoredJob, error: unknown): Promise<void> {
    const { state, message, code } = this.obstacles.after(job, error);
    if (state === 'failed') {
      if (code === undefined) this.options.onBug?.(error);
      job.error = { message, code };
    }
    if (job.state !== state || job.message !== message) await this.book.change(job, state, message);
  }

  /** Ends a job for good; only then what its run has left is destroyed. */
  private async finish(job: StoredJob, state: 'done' | 'cancelled', message?: string): Promise<void> {
    job.leaves = true;
    this.obstacles.forget(job.id);
    await this.book.change(job, state, message);
    await this.forgetRun(job);
  }

  private async stop(why: Stopping, message?: string): Promise<void> {
    const { running } = this;
    if (!running) return;
    running.stopping = why;
    running.message = message;
    // There is nothing to wait for in a run that will not be resumed.
    if (why === 'cancel' || why === 'delete') running.run.kill();
    else running.run.stop({ keepsBest: why === 'keep' });
    await running.ended;
  }

  /** Ends a job that does not run. */
  private async drop(job: StoredJob, message: string): Promise<void> {
    await this.finish(job, 'cancelled', message);
  }

  /** Destroys the key of a job's checkpoints, and what can no longer be read. What fails is tried again at the next start. */
  private async forgetRun(job: StoredJob): Promise<void> {
    try {
      await JobRun.forget(job, this.home, this.vault);
      job.leaves = undefined;
      await this.book.save(job);
    } catch (error) {
      if (!this.started) throw error;
      this.book.unlessStated(error);
    }
  }

  /** What a crash has kept from being destroyed. */
  private async forgetLeft(): Promise<void> {
    for (const job of this.list()) if (isFinal(job.state) && job.leaves) await this.forgetRun(job);
  }

  /** Stops the run; the next server resumes it from its checkpoint. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    clearTimeout(this.retry);
    await this.starting;
    await this.stop('server');
    await this.book.close();
  }
}

/** What a job that goes on says of itself. */
function resumption({ state, message }: StoredJob): string | undefined {
  if (state !== 'interrupted') return undefined;
  return message?.startsWith('interrupted') ? `resumed after it was ${message}` : 'resumed';
}

function missingSource(job: StoredJob, isThere: (id: string) => boolean): string | undefined {
  const isMissing = (id: string | undefined) => id !== undefined && !isThere(id);
  if (isMissing(job.dataset) || isMissing(job.heldout)) return 'its data set';
  return isMissing(job.start) || isMissing(job.teacher) ? 'a version that it builds on' : undefined;
}

function wrongState(job: StoredJob, what: string): LoamError {
  return new LoamError({ code: 'conflict', found: `a job that is ${job.state} cannot be ${what}` });
}
