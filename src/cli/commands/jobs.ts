import { duration } from '../../base/format.js';
import type { Job } from '../../serve/contract/jobs.js';
import { command, commandGroup, jsonOption, vaultOptions } from '../command.js';
import { table } from '../output.js';
import { findJob, type Jobs, withJobs } from '../vault.js';

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

const changeVerbs = [
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

const listVerb = command({
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
function howFar({ state, curve, etaSeconds, message, result }: Job): string {
  if (state === 'done' && result) return `NLL ${result.nll.base.toFixed(3)} -> ${result.nll.adapted.toFixed(3)}`;
  if (state === 'running') {
    const steps = curve.steps ? `step ${curve.train.at(-1)?.[0] ?? 0} of ${curve.steps}` : 'begun';
    return etaSeconds ? `${steps}, ${duration(etaSeconds)} left` : steps;
  }
  return message === state ? '' : (message ?? '');
}

const showVerb = command({
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

export const jobsCommand = commandGroup({
  name: 'jobs',
  summary: 'Tuning jobs of the app: how far they are; pause, resume, cancel.',
  verbs: [listVerb, showVerb, ...changeVerbs],
  more: [
    'JOB is the id, the beginning of it, or the name of the adapter. Jobs are worked on while `loam serve` runs; what is changed',
    'without it takes effect the next time.',
  ].join('\n'),
});
