import { duration } from '../../../util/format.js';
import { command } from '../../command.js';
import { jsonOption, vaultOptions } from '../../options.js';
import { findJob, withJobs } from '../../withJobs.js';
import { howFar } from './list.js';

export const showVerb = command({
  name: 'show',
  summary: 'one job: settings, state, figures',
  usage: 'JOB',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    await withJobs(options, output, async (jobs) => {
      const job = await findJob(jobs, positionals[0]!);
      const line = (label: string, text: string | undefined) => text && output.line(`${label.padEnd(10)} ${text}`);
      line('job', job.id);
      line('adapter', job.name);
      line('data set', job.datasetName);
      line('model', job.model);
      line('state', [job.state, howFar(job)].filter(Boolean).join(': '));
      line('options', JSON.stringify(job.options));
      line('created', job.createdAt);
      line('worked', duration(job.seconds));
      const last = job.curve.validation.at(-1);
      line('validation', last && `NLL ${last[1].toFixed(4)} at step ${last[0]}`);
      output.event({ type: 'result', served: jobs.served, job });
    });
  },
});
