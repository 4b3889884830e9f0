import { commandGroup } from '../command.js';
import { changeVerbs } from './jobs/change.js';
import { listVerb } from './jobs/list.js';
import { showVerb } from './jobs/show.js';

export const jobsCommand = commandGroup({
  name: 'jobs',
  summary: 'Tuning jobs of the app: how far they are; pause, resume, cancel.',
  verbs: [listVerb, showVerb, ...changeVerbs],
  more: [
    'JOB is the id, the beginning of it, or the name of the adapter. Jobs are worked on while `loam serve` runs; what is changed',
    'without it takes effect the next time.',
  ].join('\n'),
});
