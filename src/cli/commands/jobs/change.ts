import type { Job } from '../../../queue/Job.js';
import { command } from '../../command.js';
import { jsonOption, vaultOptions } from '../../options.js';
import { findJob, type Jobs, withJobs } from '../../withJobs.js';

const options = { ...vaultOptions, ...jsonOption } as const;

function change(
  name: string,
  summary: string,
  run: (jobs: Jobs, job: Job, options: { keep?: boolean }) => Promise<Job>,
  more: { keep?: { kind: 'flag'; default: boolean; sentence: string } } = {},
) {
  return command({
    name,
    summary,
    usage: 'JOB',
    options: { ...options, ...more },
    positionals: [1, 1],
    async run({ options: chosen, positionals, output }) {
      await withJobs(chosen, output, async (jobs) => {
        const job = await run(jobs, await findJob(jobs, positionals[0]!), chosen as { keep?: boolean });
        const later = !jobs.served && job.state === 'queued' ? '; it runs as soon as `loam serve` does' : '';
        output.line(`${job.name}: ${job.state}${later}`);
        output.event({ type: 'result', served: jobs.served, job });
      });
    },
  });
}

export const changeVerbs = [
  change('pause', 'stops it, after its checkpoint is saved', (jobs, { id }) => jobs.pause(id)),
  change('resume', 'lets it take its turn again', (jobs, { id }) => jobs.resume(id)),
  change(
    'cancel',
    'ends it for good; its checkpoints are destroyed',
    (jobs, { id }, { keep }) => jobs.cancel(id, keep ?? false),
    {
      keep: {
        kind: 'flag',
        default: false,
        sentence:
          'Keeps the best state so far as a version, not measured and not in use; only while `loam serve` runs it.',
      },
    },
  ),
  command({
    name: 'rm',
    summary: 'takes an ended job off the list',
    usage: 'JOB',
    options,
    positionals: [1, 1],
    async run({ options: chosen, positionals, output }) {
      await withJobs(chosen, output, async (jobs) => {
        const job = await findJob(jobs, positionals[0]!);
        await jobs.remove(job.id);
        output.line(`${job.name}: off the list`);
        output.event({ type: 'result', id: job.id });
      });
    },
  }),
];
