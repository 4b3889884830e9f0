import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { AdapterToWrite } from '../../adapters/loraGguf.js';
import { LoamError, StoppedError } from '../../base/errors.js';
import { Mutex } from '../../base/lock.js';
import { defaults } from '../../base/options.js';
import type { MemorisedReport } from '../../llama/memorised/report.js';
import { listModels } from '../../models/listModels.js';
import { sealedFolder } from '../../store/runKeys.js';
import type { Json } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import type { RunQuote } from '../../train/events.js';
import { type TuneOptions, tuneOptions } from '../../train/options.js';
import { vaultRun } from '../../train/output.js';
import type { Memorised } from '../contract/adapters.js';
import type { JobEvent, JobState } from '../contract/jobs.js';
import { followStored, isFinal, isOfTheMoment, type JobRequest, type LoggedEvent, type StoredJob } from './Job.js';
import { JobLog, JobStore } from './JobStore.js';
import { diedError, type Outcome, TuneProcess } from './TuneProcess.js';

/** Milliseconds between two writes of a running job's state and events. */
const SAVE_MS = 5_000;
/** Milliseconds before a job whose process died is begun again, by how often it died without progress. */
const RETRY_MS = [2_000, 15_000];
/** Seconds that an adapter is asked for private details after tuning; the findings that count most come first. */
const PROBE_SECONDS = 120;
/** The same when somebody asks for it. */
const ASKED_PROBE_SECONDS = 600;

export interface QueueOptions {
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
  process: TuneProcess;
  stopping?: Stopping;
  ended: Promise<void>;
}

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

  /** Begins what waits, and goes on with what was interrupted. */
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
    return this.running?.process.pid;
  }

  get(id: string): StoredJob | undefined {
    return this.jobs.get(id);
  }

  /** @throws LoamError where the data set or a version is not there, or the adapter of that name has another base model */
  async add(request: JobRequest): Promise<StoredJob> {
    const { name: datasetName } = this.vault.datasets.get(request.dataset);
    if (request.heldout !== undefined) this.vault.datasets.get(request.heldout);
    for (const version of [request.start, request.teacher]) {
      if (version !== undefined) this.vault.adapters.version(version);
    }
    const { models } = await listModels({ home: this.home });
    const sha256 = models.find(({ name }) => name === request.model)?.sha256;
    if (sha256) this.vault.adapters.requireFits(request.name, { name: request.model, sha256 });
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

  /** Stops a job, after its checkpoint is saved, until somebody resumes it. */
  async pause(id: string): Promise<StoredJob> {
    const job = this.require(id);
    if (this.running?.job === job) await this.stop('pause');
    else if (job.state === 'queued' || job.state === 'interrupted') await this.change(job, 'paused', 'paused');
    else if (job.state !== 'paused') throw wrongState(job, 'paused');
    return job;
  }

  /** Lets a paused job take its turn again; a failed or cancelled one too. */
  async resume(id: string): Promise<StoredJob> {
    const job = this.require(id);
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
    const job = this.require(id);
    if (isFinal(job.state)) throw wrongState(job, 'cancelled');
    if (this.running?.job === job) await this.stop(keep ? 'keep' : 'cancel');
    else {
      await this.forgetRun(job);
      await this.change(job, 'cancelled', 'cancelled');
    }
    return job;
  }

  /** Removes an ended job from the list. */
  async remove(id: string): Promise<void> {
    const job = this.require(id);
    if (!isFinal(job.state)) throw wrongState(job, 'removed');
    await this.store.delete(job);
    (await this.logOf(job)).end();
    this.logs.delete(id);
    this.jobs.delete(id);
  }

  /** Ends the jobs that learn from a data set, or measure on it, which is about to be deleted. */
  async endJobsOf(dataset: string): Promise<void> {
    for (const job of this.jobs.values()) {
      if (isFinal(job.state) || (job.dataset !== dataset && job.heldout !== dataset)) continue;
      if (this.running?.job === job) await this.stop('delete');
      else {
        await this.forgetRun(job);
        await this.change(job, 'cancelled', 'its data set was deleted');
      }
    }
  }

  /** Kept events after number `after`, then what comes; those of a moment have no number. */
  async *listen(id: string, after: number, signal: AbortSignal): AsyncGenerator<LoggedEvent, void, void> {
    const log = await this.logOf(this.require(id));
    yield* log.listen(after, signal);
  }

  /** What a run would take: measured in a process of its own. @throws LoamError, StoppedError */
  async quote(request: Pick<JobRequest, 'dataset' | 'model' | 'options'>, signal: AbortSignal): Promise<RunQuote> {
    const task = { data: await this.dataOf(request.dataset), options: fullOptions(request) };
    const outcome = await finished(TuneProcess.quote(this.home, task), signal);
    if (outcome.kind !== 'quoted') throw new Error(`a price was asked for, and ${outcome.kind} came`);
    return outcome.quote;
  }

  /**
   * Asks a version for the private details of the data sets that it has learnt from and that are still here.
   * @throws LoamError where none is, StoppedError
   */
  async probe(versionId: string, signal: AbortSignal, onProbing: (done: number, total: number) => void): Promise<void> {
    const { lineage, adapter } = this.vault.adapters.version(versionId);
    const here = new Set(this.vault.datasets.list().map(({ id }) => id));
    const data = [];
    for (const { id } of lineage.datasets) if (id !== undefined && here.has(id)) data.push(await this.dataOf(id));
    if (data.length === 0) {
      throw new LoamError({
        found: 'the data that this version has learnt from is not in the vault, so it cannot be asked for it',
      });
    }
    const { models } = await listModels({ home: this.home });
    const model = models.find(({ installed, sha256 }) => installed && sha256 === lineage.base.sha256);
    if (!model)
      throw new LoamError({
        found: `its base model (${lineage.base.name}) is not on this device`,
        fix: 'fetch it first',
      });
    const { name } = this.vault.adapters.get(adapter);
    const bytes = await this.vault.adapters.read(versionId);
    const task = { model: model.name, adapter: bytes, name, data, seconds: ASKED_PROBE_SECONDS };
    const outcome = await finished(TuneProcess.probe(this.home, task, onProbing), signal);
    if (outcome.kind === 'probed') await noteMemorised(this.vault, versionId, outcome.report);
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
    this.starting = this.run(job).finally(() => {
      this.starting = undefined;
      if (!this.running) void this.next();
    });
  }

  private async run(job: StoredJob): Promise<void> {
    const waits = () => !this.disposed && (job.state === 'queued' || job.state === 'interrupted');
    if (!waits()) return;
    try {
      const log = await this.logOf(job);
      const secret = await vaultRun(this.vault, {
        name: job.name,
        dataset: job.dataset,
        parent: job.start,
        teacher: job.teacher,
      });
      const read = (version: string | undefined) =>
        version === undefined ? undefined : this.vault.adapters.read(version);
      const task = {
        data: await this.dataOf(job.dataset),
        heldout: job.heldout === undefined ? undefined : await this.dataOf(job.heldout),
        options: fullOptions(job),
        start: await read(job.start),
        teacher: await read(job.teacher),
        name: job.name,
        key: secret.key,
        probeSeconds: PROBE_SECONDS,
      };
      // It may have been paused or cancelled meanwhile.
      if (!waits()) return;
      const before = job.state === 'interrupted' ? job.message : undefined;
      const began = performance.now();
      const spent = job.seconds;
      const pace = new Pace();
      let version: string | undefined;
      const process = TuneProcess.tune(this.home, task, {
        onEvent: (event) => {
          job.seconds = spent + (performance.now() - began) / 1000;
          this.apply(job, log, event);
          const eta = event.type === 'quote' ? event.seconds : event.type === 'step' ? pace.left(event) : undefined;
          if (eta !== undefined) this.apply(job, log, { type: 'eta', seconds: eta });
          if (!isOfTheMoment(event)) this.options.onChange?.(job);
        },
        onProbing: (done, total) => {
          if (job.stage !== 'probe') this.options.onChange?.(job);
          this.apply(job, log, { type: 'probing', done, total });
        },
        keep: async (bytes, adapter, measured) => {
          const { stopping } = this.running ?? {};
          // The best state so far is asked for when the job is ended, and not each time that it is put off.
          if (!measured && stopping !== 'keep') return job.name;
          const label = await secret.keeper!.keep(bytes, adapter as AdapterToWrite, measured);
          const adapter_ = this.vault.adapters.list().find(({ name }) => name === job.name);
          version = adapter_?.versions[0]?.id;
          if (measured && version !== undefined) {
            // From now on the job is done, even if nobody lives to write that down.
            job.adapter = { id: adapter_!.id, version };
            await this.save(job);
          }
          return label;
        },
      });
      job.startedAt ??= new Date().toISOString();
      const timer = setInterval(() => void this.save(job), SAVE_MS);
      const ended = process.ended.then(async (outcome) => {
        clearInterval(timer);
        const stopping = this.running?.stopping;
        job.seconds = spent + (performance.now() - began) / 1000;
        await this.settle(job, outcome, stopping, version);
        this.running = undefined;
        void this.next();
      });
      this.running = { job, process, ended };
      await this.change(job, 'running', before === undefined ? undefined : `goes on after it was ${before}`);
    } catch (error) {
      await this.fail(job, error);
    }
  }

  private async settle(
    job: StoredJob,
    outcome: Outcome,
    stopping: Stopping | undefined,
    version: string | undefined,
  ): Promise<void> {
    const log = await this.logOf(job);
    if (version !== undefined) {
      const found = this.vault.adapters.version(version);
      job.adapter = { id: found.adapter, version };
      this.options.onAdapter?.();
    }
    if (outcome.kind === 'result') {
      const { adapter: _, type: __, ...result } = outcome.result;
      this.apply(job, log, { type: 'result', result, adapter: job.adapter });
      if (outcome.report && version !== undefined) await noteMemorised(this.vault, version, outcome.report);
      await this.forgetRun(job);
      return await this.change(job, 'done');
    }
    if (stopping === 'cancel' || stopping === 'keep' || stopping === 'delete') {
      await this.forgetRun(job);
      const kept = version === undefined ? 'cancelled' : 'cancelled; the best state so far is kept, not measured';
      return await this.change(job, 'cancelled', stopping === 'delete' ? 'its data set was deleted' : kept);
    }
    if (stopping === 'pause') return await this.change(job, 'paused', 'paused');
    if (stopping === 'server') return await this.change(job, 'interrupted', 'interrupted by the end of the server');
    if (outcome.kind === 'failed' && !(outcome.error instanceof StoppedError))
      return await this.fail(job, outcome.error);
    job.deaths++;
    const again = job.deaths <= this.retryMs.length;
    const memory = 'fewer layers or a smaller model take less memory';
    await this.change(
      job,
      'interrupted',
      again
        ? 'interrupted by the system'
        : `interrupted by the system ${job.deaths} times without progress; it is tried again at the next start, or when it is resumed; ${memory}`,
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
    // Nothing of a run that is not gone on with is worth waiting for.
    if (why === 'cancel' || why === 'delete') running.process.kill();
    else running.process.stop();
    await running.ended;
  }

  private async change(job: StoredJob, state: JobState, message?: string): Promise<void> {
    // At once: what is waited for below must not be begun meanwhile.
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
  private async forgetRun(job: StoredJob): Promise<void> {
    const purpose = { dataset: job.dataset, makes: { adapter: job.name } };
    const shared = this.list().some(
      (other) => other !== job && !isFinal(other.state) && other.dataset === job.dataset && other.name === job.name,
    );
    // Another job on the same data for the same adapter has begun nothing yet, and begins anew.
    if (shared && job.state === 'queued') return;
    const key = await this.vault.runKeys.get(purpose);
    await this.vault.runKeys.forget(purpose);
    await rm(sealedFolder(this.home, key), { recursive: true, force: true });
  }

  private async dataOf(dataset: string) {
    return { ...(await this.vault.datasets.source(dataset)), name: this.vault.datasets.get(dataset).name };
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

  private require(id: string): StoredJob {
    const job = this.jobs.get(id);
    if (!job) throw new LoamError({ code: 'not-found', found: 'there is no such job', fix: 'see loam jobs list' });
    return job;
  }

  /** Stops the run, whose checkpoint the next server goes on from. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    clearTimeout(this.retry);
    await this.starting;
    await this.stop('server');
    for (const log of this.logs.values()) (await log).end();
  }
}

/** The end of a process that answers one question; `signal` kills it. @throws StoppedError, LoamError */
async function finished(
  process: TuneProcess,
  signal: AbortSignal,
): Promise<Exclude<Outcome, { kind: 'failed' | 'died' }>> {
  const stop = () => process.kill();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  const outcome = await process.ended;
  signal.removeEventListener('abort', stop);
  if (signal.aborted) throw new StoppedError();
  if (outcome.kind === 'failed') throw outcome.error;
  if (outcome.kind === 'died') throw diedError(outcome.how);
  return outcome;
}

function fullOptions({ model, options }: Pick<JobRequest, 'model' | 'options'>): TuneOptions {
  return { ...defaults(tuneOptions), ...(options as Partial<TuneOptions>), model };
}

function wrongState(job: StoredJob, what: string): LoamError {
  return new LoamError({ code: 'conflict', found: `a job that is ${job.state} cannot be ${what}` });
}

/** Weight of a new reading of the time a step takes. */
const WEIGHT = 0.1;
/** Seconds between two estimates. */
const ETA_EVERY = 2;

/** How long a run's steps take. */
class Pace {
  private known: { step: number; at: number } | undefined;
  private perStep: number | undefined;
  private told = 0;

  /** Seconds that are left after a step; undefined where it is too early to tell, or to tell again. */
  left({ step, steps }: { step: number; steps: number }): number | undefined {
    const at = performance.now() / 1000;
    const { known } = this;
    this.known = { step, at };
    if (!known || step <= known.step) return undefined;
    const reading = (at - known.at) / (step - known.step);
    this.perStep = this.perStep === undefined ? reading : (1 - WEIGHT) * this.perStep + WEIGHT * reading;
    if (at - this.told < ETA_EVERY) return undefined;
    this.told = at;
    return Math.max(0, steps - step) * this.perStep;
  }
}

/** Results kept beside a version; the worst come first. */
const MAX_RESULTS = 200;

/** Keeps what a probe found beside the version. `reproduced` is what an export asks for. */
async function noteMemorised(vault: Vault, version: string, report: MemorisedReport): Promise<void> {
  const results = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  const kept: Memorised = {
    ...report,
    reproduced: report.verdicts.reproduced,
    at: new Date().toISOString(),
    results: results.slice(0, MAX_RESULTS),
  };
  await vault.adapters.annotate(version, { memorised: kept as Json });
}
