import type { Vault } from '../vault/Vault.js';
import { isFinal, type Job, type LoggedEvent } from './Job.js';

const JOBS = 'job';
const events = (job: string) => `job-events/${job}`;

/** Jobs and their events as encrypted documents of the vault. */
export class JobStore {
  constructor(private readonly vault: Vault) {}

  /**
   * All jobs, oldest first. A job that was running when its process was cut off is `interrupted`; one that cannot be read is left out.
   * @param alive whether a server is running that these jobs belong to
   */
  async load({ alive = false } = {}): Promise<Job[]> {
    const jobs: Job[] = [];
    for (const { id } of this.vault.documents.list(JOBS)) {
      const bytes = await this.vault.documents.get(JOBS, id).catch(() => undefined);
      if (!bytes) continue;
      const job = JSON.parse(Buffer.from(bytes).toString('utf8')) as Job;
      if (job.state === 'running' && !alive) Object.assign(job, afterDeath(job));
      jobs.push(job);
    }
    return jobs.sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id));
  }

  async put(job: Job): Promise<void> {
    await this.vault.documents.put(JOBS, job.id, Buffer.from(JSON.stringify(job)));
  }

  /** @throws TypeError for one that has not ended */
  async delete(job: Job): Promise<void> {
    if (!isFinal(job.state)) throw new TypeError('a job that has not ended');
    await this.vault.documents.deleteKind(events(job.id));
    await this.vault.documents.delete(JOBS, job.id);
  }

  async putEvents(job: string, batch: number, logged: readonly LoggedEvent[]): Promise<void> {
    await this.vault.documents.put(events(job), String(batch).padStart(6, '0'), Buffer.from(JSON.stringify(logged)));
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
      if (bytes)
        batches.push({ batch: Number(id), logged: JSON.parse(Buffer.from(bytes).toString('utf8')) as LoggedEvent[] });
    }
    return batches;
  }
}

/** What a running job is when its processes have died: done, where its adapter was kept already. */
function afterDeath({ adapter }: Job): Pick<Job, 'state' | 'message'> {
  return adapter
    ? { state: 'done', message: undefined }
    : { state: 'interrupted', message: 'interrupted by the system' };
}
