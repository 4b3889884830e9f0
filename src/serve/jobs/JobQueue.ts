import { LoamError } from '../../base/errors.js';
import type { Run } from '../../base/events.js';
import { hashOf, resolveModel } from '../../models/listModels.js';
import { newId } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import { Gate } from './Gate.js';
import {
  datasetsOf,
  isFinal,
  isOfTheMoment,
  type JobRequest,
  type LoggedEvent,
  missingSource,
  resumption,
  type StoredJob,
  type Why,
  waitsForItself,
} from './Job.js';
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
type Stopping = 'pause' | 'wait' | 'cancel' | 'keep' | 'server' | 'delete';

interface Running {
  job: StoredJob;
  run: JobRun;
  stopping?: Stopping;
  /** What its end is to say. */
  why?: Why;
  ended: Promise<void>;
}

const BEST_KEPT = { message: 'cancelled; the best state so far is kept, not measured' };

const SERVER_STOPPED: Why = { message: 'interrupted when the server stopped', causes: ['server'] };

/** The tuning jobs of a vault: one at a time in a process of its own, the oldest first. */
export class JobQueue implements AsyncDisposable {
  private running: Running | undefined;
  /** Resolves when what is being started runs, or does not. */
  private starting: Promise<void> | undefined;
  private started = false;
  private disposed = false;
  private readonly obstacles: Obstacles;
  /** When jobs may run. */
  readonly gate: Gate;
  private retry: NodeJS.Timeout | undefined;

  private constructor(
    private readonly home: string,
    private readonly vault: Vault,
    private readonly book: JobBook,
    private readonly options: QueueOptions,
  ) {
    this.obstacles = new Obstacles(options.retryMs);
    this.gate = new Gate(vault, () => this.next());
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
    const datasetName = datasetsOf(request)
      .map((id) => this.vault.datasets.get(id).name)
      .join(', ');
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
    else if (waitsForItself(job.state)) await this.book.change(job, 'paused', { message: 'paused' });
    else if (job.state !== 'paused') throw wrongState(job, 'paused');
    return job;
  }

  /**
   * Puts a paused, failed or cancelled job back in the queue.
   * @param restart destroys its checkpoints first, and starts over
   * @param now runs it whatever the rules on when jobs may run say
   */
  async resume(id: string, { restart = false, now = false } = {}): Promise<StoredJob> {
    const job = this.get(id);
    if (job.state === 'done') throw wrongState(job, 'resumed');
    job.now = now || undefined;
    if (job.state === 'running' || job.state === 'queued') return job;
    // Its checkpoints were destroyed: what comes is another run.
    if (restart) await this.forgetRun(job);
    if (restart || job.state === 'cancelled') Object.assign(job, { run: newId(), adapter: undefined });
    this.obstacles.forget(id);
    this.gate.forget(id);
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
    else await this.finish(job, 'cancelled', { message: 'cancelled' });
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
      const why: Why = { message: `${missing} was deleted`, causes: ['deleted'] };
      return missing === undefined ? [] : [{ job, why }];
    });
    const running = affected.find(({ job }) => job === this.running?.job);
    // The others first: the end of the one that runs would begin the next.
    const others = affected.filter((one) => one !== running);
    await Promise.all(others.map(({ job, why }) => this.finish(job, 'cancelled', why)));
    if (running) await this.stop('delete', running.why);
  }

  /** Kept events after number `after`, then what comes; those of a moment have no number. */
  async listen(id: string, after: number, signal: AbortSignal): Promise<Run<LoggedEvent, void>> {
    return await this.book.listen(id, after, signal);
  }

  private waiting(): StoredJob[] {
    const all = this.list().filter(
      ({ state, deaths }) => waitsForItself(state) && (state !== 'interrupted' || !this.obstacles.isHopeless(deaths)),
    );
    return all.sort((a, b) => Number(b.state === 'interrupted') - Number(a.state === 'interrupted'));
  }

  private next(): void {
    if (!this.started || this.disposed || this.running || this.starting) return;
    clearTimeout(this.retry);
    let soonest = Number.POSITIVE_INFINITY;
    for (const job of this.waiting()) {
      const { left: hindered, blocks } = this.obstacles.of(job.id);
      const left = Math.max(hindered, this.gate.left(job.id));
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
    return !this.disposed && waitsForItself(job.state);
  }

  private async run(job: StoredJob): Promise<void> {
    if (!this.waits(job) || !(await this.obstacles.hasRoom(job.id, this.home))) return;
    const waits = await this.gate.barrier(job);
    if (!this.waits(job)) return;
    if (waits !== undefined) {
      if (job.state !== 'waiting' || job.message !== waits.message) await this.book.change(job, 'waiting', waits);
      return;
    }
    const log = await this.book.logOf(job);
    const run = await JobRun.prepare(job, this.home, this.vault);
    if (!this.waits(job)) return;
    const resumed = resumption(job);
    job.startedAt ??= new Date().toISOString();
    const watch = this.gate.watch(job, (why) => void this.stop('wait', why));
    const ended = this.follow(job, log, run)
      .then((end) => this.settle(job, end, run))
      .catch(this.book.unlessStated)
      .finally(() => {
        watch[Symbol.dispose]();
        this.running = undefined;
        this.next();
      });
    this.running = { job, run, ended };
    await this.book.change(job, 'running', resumed);
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
    if (stopping === 'delete') return await this.finish(job, 'cancelled', this.running?.why);
    if (made?.run?.ended || !('error' in end)) {
      if (made?.run?.ended === false) return await this.finish(job, 'cancelled', BEST_KEPT);
      const result = 'error' in end ? run?.figures() : end.result;
      if (result) this.book.apply(job, await this.book.logOf(job), { type: 'result', result, adapter: job.adapter });
      return await this.finish(job, 'done');
    }
    if (stopping === 'cancel' || stopping === 'keep') {
      return await this.finish(job, 'cancelled', made ? BEST_KEPT : { message: 'cancelled' });
    }
    if (stopping === 'wait') return await this.book.change(job, 'waiting', this.running?.why);
    job.now = undefined;
    if (stopping === 'pause') return await this.book.change(job, 'paused', { message: 'paused' });
    if (stopping === 'server') return await this.book.change(job, 'interrupted', SERVER_STOPPED);
    await this.interrupt(job, end.error);
  }

  /** A run that has ended of itself: it is tried again if that may help, or has failed. */
  private async interrupt(job: StoredJob, error: unknown): Promise<void> {
    const { state, code, ...why } = this.obstacles.after(job, error);
    const { message } = why;
    if (state === 'failed') {
      if (code === undefined) this.options.onBug?.(error);
      job.error = { message, code };
    }
    if (job.state !== state || job.message !== message) await this.book.change(job, state, why);
  }

  /** Ends a job for good; only then what its run has left is destroyed. */
  private async finish(job: StoredJob, state: 'done' | 'cancelled', why?: Why): Promise<void> {
    job.leaves = true;
    this.obstacles.forget(job.id);
    this.gate.forget(job.id);
    await this.book.change(job, state, why);
    await this.forgetRun(job);
  }

  private async stop(what: Stopping, why?: Why): Promise<void> {
    const { running } = this;
    if (!running) return;
    running.stopping = what;
    running.why = why;
    // There is nothing to wait for in a run that will not be resumed.
    if (what === 'cancel' || what === 'delete') running.run.kill();
    else running.run.stop({ keepsBest: what === 'keep' });
    await running.ended;
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

function wrongState(job: StoredJob, what: string): LoamError {
  return new LoamError({ code: 'conflict', found: `a job that is ${job.state} cannot be ${what}` });
}
