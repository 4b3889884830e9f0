import type { Dependents } from './contract/datasets.js';
import { datasetsOf, isFinal } from './jobs/Job.js';
import type { Services } from './Services.js';

/** What goes with a thing of the vault that is deleted: jobs that use it, tests of what was made of it, checkpoints. */

/** Jobs that wait to learn from a data set, or do. */
export function jobsOf(services: Services, dataset: string): Dependents['jobs'] {
  return services.jobs
    .list()
    .filter((job) => !isFinal(job.state) && (datasetsOf(job).includes(dataset) || job.heldout === dataset))
    .map(({ id, name, state }) => ({ id, name, state }));
}

/** Deletes a data set, and the jobs that use it end; with adapters, those that use one of these too. */
export async function deleteDataset(services: Services, id: string, withAdapters: boolean): Promise<void> {
  const { home, jobs, probes, vault } = services;
  const dependents = vault.datasets.dependents(id).map((version) => version.id);
  const versions = withAdapters ? dependents : [];
  for (const version of dependents) await probes.stop(version);
  await jobs.endJobsOf(new Set([id, ...versions]));
  await vault.datasets.delete(id, { withAdapters });
  services.datasets.clear();
  services.changed('datasets');
  if (withAdapters) services.changed('adapters');
  // One may have been added meanwhile.
  await jobs.endOrphans();
  await vault.runKeys.removeStray(home);
}

/** Deletes a version of an adapter, or all of them, and the jobs that begin with it or are taught by it end. */
export async function deleteAdapter(services: Services, id: string, version?: string): Promise<void> {
  const { home, jobs, probes, vault } = services;
  const { adapters } = vault;
  const versions = version === undefined ? adapters.get(id).versions.map((one) => one.id) : [version];
  for (const one of versions) await probes.stop(one);
  await jobs.endJobsOf(new Set(versions));
  if (version === undefined) await adapters.delete(id);
  else await adapters.deleteVersion(version);
  services.changed('adapters');
  await jobs.endOrphans();
  await vault.runKeys.removeStray(home);
}
