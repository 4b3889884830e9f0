import { ruleOptions } from '../../base/device/rules.js';
import { duration } from '../../base/format.js';
import { flag, flagOf, formatValue, type Schema } from '../../base/options.js';
import { findJob, type Jobs, withJobs } from '../../serve/client.js';
import type { Job, JobRules } from '../../serve/contract/jobs.js';
import { type Command, command, commandGroup, type Invocation, jsonOption, vaultOptions } from '../command.js';
import { table } from '../output.js';
import { openVault } from '../vault.js';

const options = { ...vaultOptions, ...jsonOption } as const satisfies Schema;

type JobCall = Invocation<typeof options> & { jobs: Jobs };

/** A command on one job, which JOB names. */
function jobVerb(name: string, summary: string, run: (job: Job, call: JobCall) => Promise<void>, more: Schema = {}) {
  return command({
    name,
    summary,
    usage: 'JOB',
    options: { ...options, ...more },
    positionals: [1, 1],
    async run(call) {
      const open = () => openVault(call.options, call.output, { mustExist: true });
      await withJobs(open, async (jobs) => run(await findJob(jobs, call.positionals[0]!), { ...call, jobs }));
    },
  });
}

/** Flags of the commands that change a job. */
interface Chosen {
  keep?: boolean;
  restart?: boolean;
  now?: boolean;
}

/** One that changes its state. */
function changeVerb(
  name: 'pause' | 'resume' | 'cancel',
  summary: string,
  change: (jobs: Jobs, id: string, chosen: Chosen) => Promise<Job>,
  more?: Schema,
) {
  return jobVerb(
    name,
    summary,
    async ({ id }, { jobs, options: chosen, output }) => {
      const job = await change(jobs, id, chosen as Chosen);
      const later = !jobs.served && job.state === 'queued' ? '; it runs as soon as `loam serve` does' : '';
      output.line(`${job.name}: ${job.state}${later}`);
      output.event({ type: 'result', served: jobs.served, job });
    },
    more,
  );
}

const listVerb = command({
  name: 'list',
  summary: 'lists all jobs, oldest first',
  usage: '',
  options,
  positionals: [0, 0],
  async run({ options: chosen, output }) {
    await withJobs(
      () => openVault(chosen, output, { mustExist: true }),
      async (jobs) => {
        const list = await jobs.list();
        if (list.length === 0) output.line('no jobs yet; start one on the page of `loam serve`');
        table(
          list.map((job) => [job.id.slice(0, 8), job.name, job.datasetName, job.state, howFar(job)]),
          output,
        );
        output.event({ type: 'result', served: jobs.served, jobs: list });
      },
    );
  },
});

/** One short clause. */
function howFar({ state, curve, etaSeconds, message, result }: Job): string {
  if (state === 'done' && result) return `NLL ${result.nll.base.toFixed(3)} -> ${result.nll.adapted.toFixed(3)}`;
  if (state === 'running') {
    const steps = curve.steps ? `step ${curve.train.at(-1)?.[0] ?? 0} of ${curve.steps}` : 'started';
    return etaSeconds ? `${steps}, ${duration(etaSeconds)} left` : steps;
  }
  return message === state ? '' : (message ?? '');
}

const showVerb = jobVerb('show', 'shows one job: settings, state, figures', async (job, { jobs, output }) => {
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

const keepOption = {
  keep: flag(
    'Keep the best state so far as a version, not measured and not in use; only while `loam serve` is running the job.',
  ),
} as const satisfies Schema;

const resumeOptions = {
  restart: flag('Start over: its checkpoints are destroyed first.'),
  now: flag('Run it now, whatever the rules on when jobs may run say.'),
} as const satisfies Schema;

const rulesVerb = command({
  name: 'rules',
  summary: 'shows when jobs may run, or sets it: each flag is a rule, in place of all rules before',
  usage: '[rules]',
  options: {
    ...options,
    ...ruleOptions,
    onDemand: flag('Jobs begin only when somebody starts them: on the page, or with `loam jobs resume --now`.'),
    none: flag('Take all rules away.'),
  },
  positionals: [0, 0],
  async run({ options: { none, passphraseFile, json: _, ...rules }, given, output }) {
    const chosen = Object.fromEntries(Object.entries(rules).filter(([name]) => given.has(name))) as JobRules;
    const sets = none || Object.keys(chosen).length > 0;
    await withJobs(
      () => openVault({ passphraseFile }, output, { mustExist: true }),
      async (jobs) => {
        if (sets) await jobs.setRules(chosen);
        const now = Object.entries(await jobs.rules());
        if (now.length === 0) output.line('no rules: a job runs as soon as it is its turn');
        for (const [name, value] of now) {
          const option = (ruleOptions as Schema)[name];
          output.line(value === true || !option ? flagOf(name) : `${flagOf(name)} ${formatValue(option, value)}`);
        }
        output.event({ type: 'result', served: jobs.served, rules: Object.fromEntries(now) });
      },
    );
  },
});

export const jobsCommand: Command = commandGroup({
  name: 'jobs',
  summary: 'Lists, pauses, resumes and cancels the tuning jobs of the app.',
  verbs: [
    listVerb,
    showVerb,
    changeVerb('pause', 'stops it once its checkpoint is saved', (jobs, id) => jobs.pause(id)),
    changeVerb(
      'resume',
      'puts it back in the queue',
      (jobs, id, { restart, now }) => jobs.resume(id, { restart, now }),
      resumeOptions,
    ),
    changeVerb(
      'cancel',
      'ends it for good and destroys its checkpoints',
      (jobs, id, { keep }) => jobs.cancel(id, keep ?? false),
      keepOption,
    ),
    rulesVerb,
    jobVerb('rm', 'removes a job that has ended from the list', async ({ id, name }, { jobs, output }) => {
      await jobs.remove(id);
      output.line(`${name}: removed from the list`);
      output.event({ type: 'result', id });
    }),
  ],
  more: [
    'JOB is the id, its first characters, or the name of the adapter. Jobs run while `loam serve` does; changes made without it take',
    'effect the next time it runs.',
  ].join('\n'),
});
