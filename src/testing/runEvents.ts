import type { StoredJob } from '../serve/jobs/Job.js';
import type { TuneEvent } from '../train/events.js';

/** A job, and events of tuning runs, for tests of what is made of them. */

export function stepEvent(
  step: number,
  loss: number | null = 3 / step,
  steps = 40,
): Extract<TuneEvent, { type: 'step' }> {
  return {
    type: 'step',
    step,
    steps,
    epoch: step / 20,
    loss,
    learningRate: 1e-3,
    gradientNorm: 1,
    tokensPerSecond: 500,
    rssBytes: 5e8,
    seconds: step,
  };
}

export function validationEvent(
  step: number,
  nll: number | null,
  best = true,
): Extract<TuneEvent, { type: 'validation' }> {
  return { type: 'validation', step, epoch: step / 20, nll, best };
}

const steps = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => stepEvent(from + i));

/** All that can happen to a run: passes of ridge, two ways of beginning again, divergence, a further run, a process that was killed. */
export const eventfulRun: readonly TuneEvent[] = [
  { type: 'data', file: 'x', examples: 40, train: 36, validation: 4, heldout: 0, tokens: 400 },
  { type: 'stage', stage: 'ridge', message: 'fitting the corrections' },
  { type: 'progress', stage: 'ridge', done: 1, total: 2 },
  { type: 'sweep', sweep: 0, nll: { train: 5, validation: 5.5 } },
  { type: 'sweep', sweep: 1, nll: { train: 4.5, validation: null } },
  {
    type: 'quote',
    seconds: 60,
    memoryBytes: 1e9,
    diskBytes: 0,
    layers: 8,
    availableBytes: 2e9,
    cheaper: [],
  },
  { type: 'stage', stage: 'qlora', message: 'training by gradients' },
  validationEvent(0, 5.2),
  ...steps(1, 5),
  validationEvent(5, 4),
  { type: 'restart', step: 5 },
  ...steps(6, 10),
  validationEvent(10, 3),
  stepEvent(11, null),
  { type: 'diverged', step: 11, loss: null, backTo: 10, learningRate: 5e-4 },
  ...steps(12, 15),
  // Killed, and gone on with from the checkpoint.
  { type: 'stage', stage: 'qlora', message: 'training by gradients' },
  { type: 'resumed', step: 13 },
  ...steps(14, 20),
  validationEvent(20, 2.5),
  { type: 'run', run: 2, runs: 3, step: 20, steps: 15 },
  ...steps(21, 25),
  validationEvent(25, 2.6, false),
  { type: 'stage', stage: 'measure', message: 'measuring' },
];

export const queuedJob: StoredJob = {
  run: 'r',
  id: 'x',
  name: 'me',
  dataset: 'd',
  datasetName: 'mine',
  model: 'tiny',
  options: {},
  state: 'queued',
  createdAt: '',
  seconds: 0,
  curve: { train: [], validation: [] },
  lastEvent: 0,
  deaths: 0,
  step: 0,
};
