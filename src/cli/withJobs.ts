import type { Job } from '../queue/Job.js';
import { JobQueue } from '../queue/JobQueue.js';
import { findServer } from '../server/findServer.js';
import { LoamError } from '../util/errors.js';
import { loamHome } from '../util/home.js';
import { openVault } from './openVault.js';
import type { Output } from './output.js';

/** The jobs of the vault: the server's where one runs, else as they were left. */
export interface Jobs {
  /** Whether a server runs, which works on them. */
  served: boolean;
  /** Oldest first. */
  list(): Promise<Job[]>;
  pause(id: string): Promise<Job>;
  resume(id: string): Promise<Job>;
  cancel(id: string, keep: boolean): Promise<Job>;
  remove(id: string): Promise<void>;
}

export async function withJobs<T>(
  options: { passphraseFile?: string },
  output: Output,
  use: (jobs: Jobs) => Promise<T>,
): Promise<T> {
  const server = await findServer(loamHome());
  if ('request' in server) {
    const post = (id: string, what: string, body: object) =>
      server.request<Job>('POST', `/api/jobs/${id}/${what}`, body);
    return await use({
      served: true,
      list: async () => (await server.request<{ jobs: Job[] }>('GET', '/api/jobs')).jobs.reverse(),
      pause: (id) => post(id, 'pause', {}),
      resume: (id) => post(id, 'resume', {}),
      cancel: (id, keep) => post(id, 'cancel', { keep }),
      remove: async (id) => {
        await server.request('DELETE', `/api/jobs/${id}`);
      },
    });
  }
  try {
    await using vault = await openVault(options, output, { mustExist: true });
    await using queue = await JobQueue.open(loamHome(), vault);
    return await use({
      served: false,
      list: async () => queue.list(),
      pause: (id) => queue.pause(id),
      resume: (id) => queue.resume(id),
      cancel: (id, keep) => queue.cancel(id, { keep }),
      remove: (id) => queue.remove(id),
    });
  } finally {
    await server.release();
  }
}

/** The job that an argument names: its id, the beginning of it, or the name of its adapter if that is one job's. Throws LoamError. */
export async function findJob(jobs: Jobs, argument: string): Promise<Job> {
  const all = await jobs.list();
  const found = all.filter(({ id }) => id === argument || (argument.length >= 4 && id.startsWith(argument)));
  const named = all.filter(({ name }) => name === argument);
  const open = named.filter(({ state }) => state !== 'done' && state !== 'failed' && state !== 'cancelled');
  const fits = found.length > 0 ? found : named.length > 1 && open.length === 1 ? open : named;
  if (fits.length === 1) return fits[0]!;
  throw new LoamError({
    found: fits.length === 0 ? `there is no job "${argument}"` : `"${argument}" means ${fits.length} jobs`,
    expected: fits.length === 0 ? undefined : `one of ${fits.map(({ id }) => id.slice(0, 8)).join(', ')}`,
    fix: 'see loam jobs list',
  });
}
