import { Attendance, ownCommand } from '../../base/device/Attendance.js';
import { thisDevice } from '../../base/device/thisDevice.js';
import type { AdapterVersion } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import { type PrivateRun, vaultRun } from '../../train/output.js';
import { RunFolder } from '../../train/runFolder.js';
import type { JobEvent, JobResult } from '../contract/jobs.js';
import { viewVersion } from '../views.js';
import { readRules } from './Gate.js';
import { datasetsOf, type StoredJob } from './Job.js';
import { noteMemorised } from './probing.js';
import { dataOf, type Kept, runOptions, startTuner, type Tuner, type TuneTask } from './tuner.js';

/** Seconds that an adapter is tested for private details at the end of its run; what is left is tried in the background. */
const PROBE_SECONDS = { least: 60, most: 600 };
/** Of the time of the run, which is long where the device is slow. */
const PROBE_SHARE = 0.2;

/** How a run ended: it came to an adapter, with what is known of that, or not. */
export type RunEnd = { result: JobResult | undefined } | { error: unknown };

interface RunHooks {
  follow(event: JobEvent): void;
  /** A version is in the vault. From now on the job is done with training, even if somebody deletes that version at once. */
  onKept(version: AdapterVersion): void;
}

/** One run of a job, in a process of its own: from what the vault has of it to an adapter, and what that has memorised. */
export class JobRun {
  private tuner: Tuner | undefined;
  private keepsBest = false;
  private readonly stopping = new AbortController();

  private constructor(
    private readonly job: StoredJob,
    private readonly home: string,
    private readonly vault: Vault,
    private readonly task: TuneTask,
    private readonly secret: PrivateRun,
  ) {}

  /**
   * Reads all that the process needs: it has no vault.
   * @throws LoamError: busy, while an earlier process has the folder of the run
   */
  static async prepare(job: StoredJob, home: string, vault: Vault): Promise<JobRun> {
    const { name, heldout, start, teacher } = job;
    const datasets = datasetsOf(job);
    const secret = await vaultRun(vault, { name, datasets, parent: start, teacher, run: runOf(job) });
    await (await RunFolder.open(name, secret.key))[Symbol.asyncDispose]();
    const read = (version: string | undefined) => (version === undefined ? undefined : vault.adapters.read(version));
    const options = runOptions(job);
    // It slows itself down towards the lower of both limits.
    const limits = [options.maxCelsius, (await readRules(vault)).maxCelsius].flatMap((one) => one ?? []);
    const task = {
      data: await Promise.all(datasets.map((id) => dataOf(vault, id))),
      heldout: heldout === undefined ? undefined : await dataOf(vault, heldout),
      options: { ...options, maxCelsius: limits.length > 0 ? Math.min(...limits) : undefined },
      adapters: { start: await read(start), teacher: await read(teacher) },
      makes: { name, key: secret.key },
    };
    return new JobRun(job, home, vault, task, secret);
  }

  /** Destroys the key of a job's checkpoints, and what can no longer be read. */
  static async forget(job: StoredJob, home: string, vault: Vault): Promise<void> {
    const makes = { adapter: job.name };
    await vault.runKeys.forget({ datasets: datasetsOf(job), makes, run: runOf(job).key });
    await vault.runKeys.removeStray(home);
  }

  get pid(): number | undefined {
    return this.tuner?.pid;
  }

  /**
   * The version that the run has become: measured, or the best state so far that was asked for when it was ended. It counts whatever
   * became of the process that made it, and of the one that was to write that down.
   */
  get made(): AdapterVersion | undefined {
    const made = this.vault.adapters.madeBy(this.job.run);
    return made.find(({ run }) => run!.ended) ?? made.at(-1);
  }

  /** Tunes, then asks the adapter what it has memorised. What an earlier process has made is not made again. Never rejects. */
  async run(hooks: RunHooks): Promise<RunEnd> {
    const { signal } = this.stopping;
    const pace = new Pace();
    try {
      const stop = ownCommand('jobs', 'pause', this.job.id);
      const { keepAwake } = this.task.options;
      await using attendance = await Attendance.begin(thisDevice(), this.job.id, stop, keepAwake);
      await using tuner = startTuner(this.home);
      this.tuner = tuner;
      let result: JobResult | undefined;
      // A version that was kept may have been deleted since.
      if (!this.made && !this.job.adapter) {
        const answer = (kept: Kept) => this.keep(kept, hooks);
        const {
          adapter: _,
          type: __,
          ...figures
        } = await tuner.run('tune', this.task, { signal, answer }).each((event) => {
          hooks.follow(event);
          const seconds = event.type === 'quote' ? event.seconds : event.type === 'step' ? pace.left(event) : undefined;
          if (seconds !== undefined) hooks.follow({ type: 'eta', seconds });
          const { progress, etaSeconds } = this.job;
          if (progress && progress.total > 0) attendance.progress(progress.done / progress.total, etaSeconds);
        });
        result = figures;
      }
      // A probe that fails takes nothing from a run that has succeeded.
      await this.probe(tuner, hooks).catch(() => {});
      return { result: result ?? this.figures() };
    } catch (error) {
      return { error };
    }
  }

  private async keep({ bytes, measured, ...adapter }: Kept, { onKept }: RunHooks): Promise<string> {
    // The best state so far is asked for when the job is ended, and not each time that it is put off.
    if (!measured && !this.keepsBest) return this.task.makes.name;
    const label = await this.secret.keeper!.keep(bytes, adapter, measured);
    if (this.made) onKept(this.made);
    return label;
  }

  private async probe(tuner: Tuner, { follow }: RunHooks): Promise<void> {
    const { made, task } = this;
    if (!made?.run?.ended || made.memorised !== undefined) return;
    const { data, options, makes } = task;
    const adapter = await this.vault.adapters.read(made.id);
    const { least, most } = PROBE_SECONDS;
    const seconds = Math.min(most, Math.max(least, PROBE_SHARE * this.job.seconds));
    const probe = { model: options.model, adapter, name: makes.name, data, known: [], seconds };
    const report = await tuner.run('probe', probe, { signal: this.stopping.signal }).each(follow);
    await noteMemorised(this.vault, made.id, report);
  }

  /** What is known of a run whose adapter was kept by an earlier process. */
  figures(): JobResult | undefined {
    const { made, job } = this;
    if (!made?.run?.ended) return undefined;
    const { recipe, metrics } = viewVersion(made, this.vault);
    const { nll, measuredOn, tokens, general } = metrics ?? {};
    if (!nll || !measuredOn || tokens === undefined) return undefined;
    const { seconds, latest, options } = job;
    const method = String(recipe?.method ?? options.method);
    return {
      method,
      nll,
      measuredOn,
      tokens,
      general,
      seconds,
      peakRssBytes: latest?.rssBytes ?? 0,
      bytes: made.bytes,
    };
  }

  /** Ends it after its checkpoint is saved. @param keepsBest keeps the best state so far, not measured */
  stop({ keepsBest }: { keepsBest: boolean }): void {
    this.keepsBest = keepsBest;
    this.stopping.abort();
  }

  /** Ends it now; what it did since its last checkpoint is lost. */
  kill(): void {
    this.tuner?.kill();
  }
}

/** Runs of earlier versions had the key of their adapter's name. */
function runOf({ id, run }: StoredJob): { id: string; key?: string } {
  return { id: run, key: run === id ? undefined : run };
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

  /** Seconds that are left after a step; undefined while it is too early to tell, or to tell again. */
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
