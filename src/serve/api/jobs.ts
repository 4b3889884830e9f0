import Type from 'typebox';
import { Done, done } from '../contract/common.js';
import { Job, JobEvent, JobInput, JobRules, OptionDeclaration, QuoteInput, RunQuote } from '../contract/jobs.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import { viewJob } from '../jobs/Job.js';
import { jobOptions, quoteJob, readJobOptions } from '../jobs/tuner.js';
import type { Services } from '../Services.js';

const route = routesOf<Services>();

export const jobRoutes = [
  route({
    method: 'GET',
    path: '/api/options',
    keys: 'work',
    summary: 'Options of tuning as they are declared: a form derives from them.',
    response: Type.Object({ options: Type.Array(OptionDeclaration) }),
    async handler() {
      return { options: Object.entries(jobOptions).map(([name, option]) => ({ name, ...option })) };
    },
  }),
  route({
    method: 'GET',
    path: '/api/jobs',
    keys: 'work',
    summary: 'All jobs, the newest first.',
    response: Type.Object({ jobs: Type.Array(Job) }),
    async handler(_, services) {
      return { jobs: services.jobs.list().map(viewJob).reverse() };
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs',
    keys: 'work',
    summary: 'Tunes a model on one or more data sets, now or once the jobs before it have ended.',
    body: JobInput,
    response: Job,
    async handler({ body }, services) {
      const model = await services.model(body.model ?? services.defaultModel);
      const options = readJobOptions(body.options);
      const { name, dataset, also, heldout, start, teacher } = body;
      const job = await services.jobs.add({ name, dataset, also, model: model.name, options, heldout, start, teacher });
      return Answer.json(viewJob(job), 201);
    },
  }),
  route({
    method: 'POST',
    path: '/api/quote',
    asks: true,
    keys: 'work',
    summary: 'What a job would take in time, memory and disk; measures a layer on this device for a few seconds.',
    body: QuoteInput,
    response: RunQuote,
    async handler({ body, signal }, services) {
      const model = await services.model(body.model ?? services.defaultModel);
      const request = {
        dataset: body.dataset,
        also: body.also,
        model: model.name,
        options: readJobOptions(body.options),
      };
      return await quoteJob(services.home, services.vault, request, signal);
    },
  }),
  route({
    method: 'GET',
    path: '/api/jobs/{id}',
    keys: 'work',
    summary: 'One job.',
    response: Job,
    async handler({ params }, services) {
      return viewJob(services.jobs.get(params.id));
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/{id}/pause',
    keys: 'work',
    summary: 'Pauses a job once its checkpoint is saved.',
    response: Job,
    async handler({ params }, services) {
      return viewJob(await services.jobs.pause(params.id));
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/{id}/resume',
    keys: 'work',
    summary:
      'Puts a paused, failed or cancelled job back in the queue; with restart its checkpoints are destroyed first, with now it runs whatever the rules say.',
    query: Type.Object({ restart: Type.Optional(Type.Boolean()), now: Type.Optional(Type.Boolean()) }),
    response: Job,
    async handler({ params, query }, services) {
      return viewJob(await services.jobs.resume(params.id, query));
    },
  }),
  route({
    method: 'GET',
    path: '/api/rules',
    keys: 'work',
    summary: 'When jobs may run on this device.',
    response: JobRules,
    async handler(_, services) {
      return await services.jobs.gate.rules();
    },
  }),
  route({
    method: 'POST',
    path: '/api/rules',
    summary:
      'Sets when jobs may run, in place of all rules before; a running job pauses at a checkpoint if they are not kept.',
    body: JobRules,
    response: JobRules,
    async handler({ body }, services) {
      await services.jobs.gate.set(body);
      services.changed('settings');
      return body;
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/{id}/cancel',
    summary: 'Ends a job for good; with keep the best state so far becomes a version, unmeasured and not in use.',
    body: Type.Object({ keep: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
    response: Job,
    async handler({ params, body }, services) {
      return viewJob(await services.jobs.cancel(params.id, { keep: body.keep }));
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/jobs/{id}',
    summary: 'Removes an ended job from the list.',
    response: Done,
    async handler({ params }, services) {
      await services.jobs.remove(params.id);
      services.changed('jobs');
      return done;
    },
  }),
  route({
    method: 'GET',
    path: '/api/jobs/{id}/events',
    keys: 'work',
    summary: "A job's events from the first one on, or after Last-Event-ID; ends with the job.",
    response: { events: JobEvent },
    async handler({ params, headers, signal }, services) {
      const last = headers['last-event-id'];
      const after = /^\d{1,15}$/.test(String(last)) ? Number(last) : 0;
      const listening = await services.jobs.listen(params.id, after, signal);
      async function* events(): AsyncGenerator<ServerEvent<JobEvent>> {
        for await (const { n, event } of listening) {
          yield { id: n === undefined ? undefined : String(n), data: event };
        }
      }
      return Answer.events(events());
    },
  }),
];
