import { LoamError, StoppedError, stated } from '../../base/errors.js';
import { leftOf } from '../../base/tried.js';
import type { NamedBytes } from '../../examples/example.js';
import type { MemorisedReport, ProbedFinding } from '../../llama/memorised/report.js';
import { hashOf, listModels } from '../../models/listModels.js';
import { jsonDocument, jsonOf } from '../../store/documents.js';
import type { Json, Lineage } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import type { Memorised } from '../contract/adapters.js';
import type { Status } from '../contract/server.js';
import { failureOf } from '../paths.js';
import { memorisedOf } from '../views.js';
import { dataOf, startTuner } from './tuner.js';

/** Which private details of its data a version gives away: asked in the background until every one was tried, and kept beside it. */

interface ProbesOptions {
  /** Told what is tested and how far it is, as `list` tells it. */
  onChange: (list: ProbeProgress[]) => void;
  /** Told when there is more to know of a version. */
  onNoted: () => void;
  /** Whether something else needs the processor: then all this waits. */
  isBusy: () => boolean;
}

export type ProbeProgress = Status['probing'][number];

/** Seconds after which what was found out is kept; what is not kept is asked for again. */
const SLICE = 60;
/** No value takes longer: a slice that came to nothing is followed by one of twice the length. */
const LONGEST_SLICE = 3600;

/** Versions that are being tested, one after the other. */
export class Probes implements AsyncDisposable {
  private readonly waiting = new Map<string, { progress: ProbeProgress; whenDone: Deferred; again: boolean }>();
  /** Those whose test has failed, until it is begun again. */
  private readonly failed = new Map<string, ProbeProgress>();
  private running: { version: string; abort: AbortController; ended: Promise<void> } | undefined;
  private disposed = false;

  constructor(
    private readonly home: string,
    private readonly vault: Vault,
    private readonly options: ProbesOptions,
  ) {}

  /** Those that are tested or wait for it, then those whose test has failed. */
  list(): ProbeProgress[] {
    return [...[...this.waiting.values()].map(({ progress }) => ({ ...progress })), ...this.failed.values()];
  }

  get hasWork(): boolean {
    return this.waiting.size > 0;
  }

  /** Goes on with what an earlier process, or the test at the end of a run, had no time for. */
  resume(): void {
    const here = new Set(this.vault.datasets.list().map(({ id }) => id));
    for (const { versions } of this.vault.adapters.list()) {
      for (const version of versions) {
        const report = memorisedOf(version);
        const isHere = version.lineage.datasets.some(({ id }) => id !== undefined && here.has(id));
        if (report && leftOf(report) > 0 && isHere) this.begin(version.id).catch(() => {});
      }
    }
  }

  /** @throws LoamError: not-found, if the data of a version or its base model is not here; StoppedError */
  async check(version: string, signal: AbortSignal): Promise<void> {
    const { lineage } = this.vault.adapters.version(version);
    dataIdsOf(this.vault, lineage);
    await baseOf(this.home, lineage, signal);
  }

  /**
   * Tests a version until all was tried.
   * @param again gives up what was found out before
   * @throws LoamError: not-found, if its data or its base model is not here; StoppedError
   */
  async begin(version: string, { again = false } = {}): Promise<void> {
    const known = this.waiting.get(version);
    if (known) return await known.whenDone.promise;
    const whenDone = new Deferred();
    this.failed.delete(version);
    this.waiting.set(version, { progress: { version, done: 0, total: 0 }, whenDone, again });
    this.changed();
    this.look();
    await whenDone.promise;
  }

  /** Leaves a version as far as it was tried. */
  async stop(version: string): Promise<void> {
    const one = this.waiting.get(version);
    const isKnown = [this.waiting.delete(version), this.failed.delete(version)].some(Boolean);
    if (isKnown) this.changed();
    if (this.running?.version === version) {
      this.running.abort.abort();
      await this.running.ended;
    }
    one?.whenDone.resolve();
  }

  /** Called when what `isBusy` tells may have changed. */
  look(): void {
    if (this.disposed) return;
    if (this.options.isBusy()) {
      this.running?.abort.abort();
      return;
    }
    const [next] = this.waiting.keys();
    if (this.running || next === undefined) return;
    const abort = new AbortController();
    const ended = this.test(next, abort.signal).then(() => {
      this.running = undefined;
      this.look();
    });
    this.running = { version: next, abort, ended };
  }

  private async test(version: string, signal: AbortSignal): Promise<void> {
    const entry = this.waiting.get(version)!;
    const { progress, whenDone } = entry;
    try {
      if (entry.again) await this.vault.documents.delete(KNOWN, version);
      entry.again = false;
      let seconds = SLICE;
      for (;;) {
        const report = await this.slice(progress, seconds, signal);
        this.options.onNoted();
        if (leftOf(report) === 0) break;
        seconds = report.isFurther ? SLICE : Math.min(LONGEST_SLICE, 2 * seconds);
      }
      whenDone.resolve();
    } catch (error) {
      // Put off, and not ended.
      if (signal.aborted) return;
      if (!(error instanceof StoppedError) && this.has(version)) {
        this.failed.set(version, { ...progress, ...failureOf(stated(error)) });
      }
      // Nobody may be waiting for it.
      whenDone.promise.catch(() => {});
      whenDone.reject(error);
    }
    this.waiting.delete(version);
    this.changed();
  }

  private async slice(
    progress: ProbeProgress,
    seconds: number,
    signal: AbortSignal,
  ): Promise<MemorisedReport & { isFurther: boolean }> {
    const { home, vault } = this;
    const { version } = progress;
    const { data, model, name } = await subjectOf(home, vault, version, signal);
    const known = await knownOf(vault, version);
    const adapter = await vault.adapters.read(version);
    await using tuner = startTuner(home);
    const task = { model, adapter, name, data, known, seconds };
    const report = await tuner.run('probe', task, { signal }).each(({ done, total }) => {
      Object.assign(progress, { done, total });
      this.changed();
    });
    await noteMemorised(vault, version, report);
    return { ...report, isFurther: report.probed > known.length };
  }

  /** Another program may have deleted it. */
  private has(version: string): boolean {
    try {
      this.vault.adapters.version(version);
      return true;
    } catch {
      return false;
    }
  }

  private changed(): void {
    this.options.onChange(this.list());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    for (const version of [...this.waiting.keys()]) await this.stop(version);
  }
}

/** What it takes to test a version. @throws LoamError: not-found */
async function subjectOf(home: string, vault: Vault, version: string, signal: AbortSignal) {
  const { lineage, adapter } = vault.adapters.version(version);
  const data: NamedBytes[] = [];
  for (const id of dataIdsOf(vault, lineage)) data.push(await dataOf(vault, id));
  const model = await baseOf(home, lineage, signal);
  return { data, model, name: vault.adapters.get(adapter).name };
}

/** Of the data that a version learnt from, what is in the vault. @throws LoamError: not-found, if none is */
function dataIdsOf(vault: Vault, { datasets }: Lineage): string[] {
  const here = new Set(vault.datasets.list().map(({ id }) => id));
  const ids = datasets.flatMap(({ id }) => (id !== undefined && here.has(id) ? [id] : []));
  if (ids.length === 0) {
    throw new LoamError({
      code: 'not-found',
      found: 'the data that this version learnt from is not in the vault, so it cannot be tested',
    });
  }
  return ids;
}

/** @returns the name of the model. @throws LoamError: not-found, if it is not here */
async function baseOf(home: string, { base }: Lineage, signal: AbortSignal): Promise<string> {
  const { models } = await listModels({ home });
  // Those of which the hash is known cost nothing.
  const usable = models.filter(({ installed }) => installed).sort((a, b) => Number(!a.sha256) - Number(!b.sha256));
  for (const model of usable) {
    const sha256 = await hashOf(model, { home, signal }).result.catch(() => null);
    if (sha256 === base.sha256) return model.name;
  }
  throw new LoamError({
    code: 'not-found',
    found: `its base model (${base.name}) is not on this device`,
    fix: 'fetch it first',
  });
}

/** What was found out of a version is a document of this kind: all of it, while some is left to ask for. */
const KNOWN = 'probed';
/** Results kept beside a version; the worst come first. */
const MAX_RESULTS = 200;

async function knownOf(vault: Vault, version: string): Promise<ProbedFinding[]> {
  const bytes = await vault.documents.get(KNOWN, version);
  return bytes ? jsonOf<ProbedFinding[]>(bytes) : [];
}

/** Keeps what a probe found beside the version. `reproduced` is what an export asks for. */
export async function noteMemorised(vault: Vault, version: string, report: MemorisedReport): Promise<void> {
  const worst = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  const kept: Memorised = {
    ...report,
    reproduced: report.verdicts.reproduced,
    at: new Date().toISOString(),
    results: worst.slice(0, MAX_RESULTS),
  };
  if (leftOf(report) > 0) {
    const tried = report.results.filter(({ verdict }) => verdict !== 'not probed');
    await vault.documents.change(KNOWN, version, () => jsonDocument(tried), [version]);
  } else await vault.documents.delete(KNOWN, version);
  await vault.adapters.annotate(version, { memorised: kept as Json });
}

/** A promise that others settle. */
class Deferred {
  resolve = () => {};
  reject: (error: unknown) => void = () => {};
  readonly promise = new Promise<void>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}
