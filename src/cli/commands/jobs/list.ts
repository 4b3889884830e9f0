import type { Job } from '../../../queue/Job.js';
import { duration } from '../../../util/format.js';
import { command } from '../../command.js';
import { jsonOption, vaultOptions } from '../../options.js';
import { table } from '../../table.js';
import { withJobs } from '../../withJobs.js';

export const listVerb = command({
  name: 'list',
  summary: 'all jobs, oldest first',
  usage: '',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [0, 0],
  async run({ options, output }) {
    await withJobs(options, output, async (jobs) => {
      const list = await jobs.list();
      if (list.length === 0) output.line('no jobs yet; the page of `loam serve` begins them');
      table(
        list.map((job) => [job.id.slice(0, 8), job.name, job.datasetName, job.state, howFar(job)]),
        output,
      );
      output.event({ type: 'result', served: jobs.served, jobs: list });
    });
  },
});

/** One short clause. */
export function howFar({ state, curve, step, etaSeconds, message, result }: Job): string {
  if (state === 'done' && result) return `NLL ${result.nll.base.toFixed(3)} -> ${result.nll.adapted.toFixed(3)}`;
  if (state === 'running') {
    const steps = curve.steps ? `step ${curve.train.at(-1)?.[0] ?? step} of ${curve.steps}` : 'begun';
    return etaSeconds ? `${steps}, ${duration(etaSeconds)} left` : steps;
  }
  return message === state ? '' : (message ?? '');
}
