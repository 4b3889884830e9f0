import type { Vault } from '../../store/Vault.js';
import type { TuneResult } from '../../train/events.js';
import { type PrivateRun, vaultRun } from '../../train/output.js';
import type { Job, JobEvent } from '../contract/jobs.js';
import { dataOf, type Kept, noteMemorised, runOptions, startTuner, type Tuner, type TuneTask } from './tuner.js';

/** Seconds that an adapter is tested for private details after tuning. */
const PROBE_SECONDS = 120;

type KeptVersion = NonNullable<Job['adapter']>;

/** How a run ended: with a result, or not. */
export type RunEnd = { result: TuneResult } | { error: unknown };

interface RunHooks {
  follow(event: JobEvent): void;
  /** The measured adapter is in the vault: from now on the job is done, even if nobody lives to write that down. */
  onKept(adapter: KeptVersion): Promise<void>;
}

/** One run of a job, in a process of its own: from what the vault has of it to an adapter, and what that has memorised. */
export class JobRun {
  /** The version that the adapter became, measured or not. */
  kept: KeptVersion | undefined;
  private bytes: Uint8Array | undefined;
  private tuner: Tuner | undefined;
  private keepsBest = false;
  private readonly stopping = new AbortController();

  private constructor(
    private readonly home: string,
    private readonly vault: Vault,
    private readonly task: TuneTask,
    private readonly secret: PrivateRun,
  ) {}

  /** Reads all that the process needs: it has no vault. @throws LoamError */
  static async prepare(job: Job, home: string, vault: Vault): Promise<JobRun> {
    const { name, dataset, heldout, start, teacher } = job;
    const secret = await vaultRun(vault, { name, dataset, parent: start, teacher });
    const read = (version: string | undefined) => (version === undefined ? undefined : vault.adapters.read(version));
    const task = {
      data: await dataOf(vault, dataset),
      heldout: heldout === undefined ? undefined : await dataOf(vault, heldout),
      options: runOptions(job),
      adapters: { start: await read(start), teacher: await read(teacher) },
      makes: { name, key: secret.key },
    };
    return new JobRun(home, vault, task, secret);
  }

  /** Destroys the key of a job's checkpoints, and what can no longer be read. */
  static async forget({ name, dataset }: Job, home: string, vault: Vault): Promise<void> {
    await vault.runKeys.forget({ dataset, makes: { adapter: name } });
    await vault.runKeys.removeStray(home);
  }

  get pid(): number | undefined {
    return this.tuner?.pid;
  }

  /** Tunes, then asks the adapter what it has memorised. Never rejects. */
  async run(hooks: RunHooks): Promise<RunEnd> {
    const { signal } = this.stopping;
    const pace = new Pace();
    await using tuner = startTuner(this.home);
    this.tuner = tuner;
    try {
      const answer = (kept: Kept) => this.keep(kept, hooks);
      const result = await tuner.run('tune', this.task, { signal, answer }).each((event) => {
        hooks.follow(event);
        const seconds = event.type === 'quote' ? event.seconds : event.type === 'step' ? pace.left(event) : undefined;
        if (seconds !== undefined) hooks.follow({ type: 'eta', seconds });
      });
      // A probe that fails takes nothing from a run that has succeeded.
      await this.probe(tuner, hooks).catch(() => {});
      return { result };
    } catch (error) {
      return { error };
    }
  }

  private async keep({ bytes, measured, ...adapter }: Kept, { onKept }: RunHooks): Promise<string> {
    // The best state so far is asked for when the job is ended, and not each time that it is put off.
    if (!measured && !this.keepsBest) return this.task.makes.name;
    const label = await this.secret.keeper!.keep(bytes, adapter, measured);
    const { id, versions } = this.vault.adapters.list().find(({ name }) => name === this.task.makes.name)!;
    this.kept = { id, version: versions[0]!.id };
    if (measured) {
      this.bytes = bytes;
      await onKept(this.kept);
    }
    return label;
  }

  private async probe(tuner: Tuner, { follow }: RunHooks): Promise<void> {
    const { bytes, kept, task } = this;
    if (!bytes) return;
    const { data, options, makes } = task;
    const probe = { model: options.model, adapter: bytes, name: makes.name, data: [data], seconds: PROBE_SECONDS };
    const report = await tuner.run('probe', probe, { signal: this.stopping.signal }).each(follow);
    await noteMemorised(this.vault, kept!.version, report);
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
