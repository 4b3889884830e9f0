import type { Reading } from '../../base/device/Reading.js';
import { type Broken, broken, checkRules, hasRules, waitsBecause } from '../../base/device/rules.js';
import { thisDevice } from '../../base/device/thisDevice.js';
import { lookEvery, Watch } from '../../base/device/Watch.js';
import { jsonDocument, jsonOf } from '../../store/documents.js';
import type { Vault } from '../../store/Vault.js';
import type { JobRules } from '../contract/jobs.js';
import type { StoredJob, Why } from './Job.js';

/** What the vault keeps them as. */
const RULES = 'rules';

/** Those of this device. */
export async function readRules(vault: Vault): Promise<JobRules> {
  const bytes = await vault.documents.get(RULES, RULES);
  return bytes ? jsonOf<JobRules>(bytes) : {};
}

function whyOf(found: readonly Broken[]): Why {
  return { message: waitsBecause(found), causes: [...new Set(found.map(({ rule }) => rule))] };
}

/** When jobs may run: by the rules for this device, and by a job's own. Both must be kept. */
export class Gate {
  /** By job: time of `performance.now` before which it is not looked at again, and bytes that it gave back when it was stopped. */
  private readonly barred = new Map<string, { until: number; needs: number }>();

  private latest: { at: number; reading: Reading } | undefined;

  /** @param onChange told when other rules are set */
  constructor(
    private readonly vault: Vault,
    private readonly onChange: () => void,
  ) {}

  rules(): Promise<JobRules> {
    return readRules(this.vault);
  }

  /** @throws UsageError */
  async set(rules: JobRules): Promise<void> {
    checkRules(rules);
    await this.vault.documents.put(RULES, RULES, jsonDocument(rules));
    this.barred.clear();
    this.onChange();
  }

  /** Why a job may not begin or go on now. */
  async barrier(job: StoredJob): Promise<Why | undefined> {
    if (job.now) return undefined;
    const rules = await this.rules();
    if (rules.onDemand) {
      this.bar(job.id, 0);
      return { message: 'waits until you start it', causes: ['onDemand'] };
    }
    const needs = this.barred.get(job.id)?.needs ?? 0;
    const found = await this.broken(rules, job, { wasRunning: false, needs });
    if (found.length === 0) {
      this.forget(job.id);
      return undefined;
    }
    this.bar(job.id, needs);
    return whyOf(found);
  }

  /** Whether work that belongs to no job may be done now. */
  async allows(): Promise<boolean> {
    const rules = await this.rules();
    return !hasRules(rules) || broken(rules, await this.read(), { wasRunning: false }).length === 0;
  }

  private bar(id: string, needs: number): void {
    this.barred.set(id, { until: performance.now() + lookEvery(), needs });
  }

  private async broken(
    rules: JobRules,
    { options }: StoredJob,
    how: { wasRunning: boolean; needs?: number },
  ): Promise<Broken[]> {
    const asked = [rules, options].filter(hasRules);
    if (asked.length === 0) return [];
    const reading = await this.read();
    return asked.flatMap((one) => broken(one, reading, how));
  }

  /** As it was a moment ago, if it was looked at then: for several jobs it is asked once. */
  private async read(): Promise<Reading> {
    const now = performance.now();
    if (!this.latest || now - this.latest.at > lookEvery() / 4)
      this.latest = { at: now, reading: await thisDevice().read() };
    return this.latest.reading;
  }

  /** Watches the device while a job runs; tells once why it has to stop. */
  watch(job: StoredJob, onBroken: (why: Why) => void): Disposable {
    let told = false;
    return new Watch(async () => {
      if (told || job.now) return;
      const found = await this.broken(await this.rules(), job, { wasRunning: true });
      if (found.length === 0) return;
      told = true;
      this.bar(job.id, job.latest?.rssBytes ?? 0);
      onBroken(whyOf(found));
    });
  }

  /** Milliseconds until a job is looked at again. */
  left(id: string): number {
    return Math.max(0, (this.barred.get(id)?.until ?? 0) - performance.now());
  }

  forget(id: string): void {
    this.barred.delete(id);
  }
}
