import Type, { type Static } from 'typebox';
import { ruleNames } from '../../base/device/rules.js';
import type { Option } from '../../base/options.js';
import { QuoteEvent, RunQuote, Stage, StepEvent, TuneEvent, TuneResult } from '../../train/events.js';
import { Count, Id, Name, OpenRecord, Time } from './common.js';

/** Tuning jobs: what somebody asks for, how far it is, and the events that tell of it. */

/**
 * `queued`: waits for its turn. `waiting`: the rules on when it may run ask something of the device; it begins, or goes on, by itself.
 * `paused`: waits for somebody to resume it. `interrupted`: the system, or the server when it stopped, ended its process; it resumes by
 * itself. The last three are final.
 */
export const JobState = Type.Enum([
  'queued',
  'running',
  'waiting',
  'paused',
  'interrupted',
  'done',
  'failed',
  'cancelled',
]);
export type JobState = Static<typeof JobState>;

/** Why a job is in its state, where that is not somebody's doing: a rule on when it may run, or what ended it. */
export const JobCause = Type.Enum([
  ...ruleNames,
  'onDemand',
  'disk-full',
  'busy',
  'died',
  'hopeless',
  'server',
  'deleted',
] as const);
export type JobCause = Static<typeof JobCause>;
const Causes = Type.Optional(Type.Array(JobCause, { description: 'Why it is in this state, for programs.' }));

/** An option of tuning as it is declared: a form derives from it. */
export const OptionDeclaration = Type.Unsafe<Option & { name: string }>(
  Type.Object({
    name: Type.String(),
    kind: Type.String(),
    sentence: Type.String(),
    value: Type.Optional(Type.String()),
    default: Type.Optional(Type.Unknown()),
    advanced: Type.Optional(Type.Boolean()),
    choices: Type.Optional(Type.Array(Type.String())),
    min: Type.Optional(Type.Number()),
    max: Type.Optional(Type.Number()),
  }),
);
export type OptionDeclaration = Static<typeof OptionDeclaration>;

/** Without `model` the default one; `options` that are not given have their defaults. */
export const JobInput = Type.Object(
  {
    name: Type.String({ ...Name, description: 'Of the adapter that gets a version; there is one adapter of a name.' }),
    dataset: Id,
    also: Type.Optional(
      Type.Array(Id, { maxItems: 31, uniqueItems: true, description: 'Further data sets that it learns from.' }),
    ),
    model: Type.Optional(Name),
    options: Type.Optional(OpenRecord),
    heldout: Type.Optional(Type.String({ ...Id, description: 'Data set to measure on.' })),
    start: Type.Optional(Type.String({ ...Id, description: 'Adapter version that training begins with.' })),
    teacher: Type.Optional(Type.String({ ...Id, description: "Adapter version that ridge's teacher wears." })),
  },
  { additionalProperties: false },
);
export type JobInput = Static<typeof JobInput>;

/** When jobs may run on this device, beside what each asks for itself; what is left out asks nothing. */
export const JobRules = Type.Object(
  {
    whileCharging: Type.Optional(Type.Boolean()),
    minBattery: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Percent.' })),
    maxCelsius: Type.Optional(Type.Integer({ minimum: 20, maximum: 110 })),
    hours: Type.Optional(Type.String({ maxLength: 20, description: '"22:00-6:30", by the clock of the device.' })),
    idle: Type.Optional(Type.Number({ minimum: 1, maximum: 86_400, description: 'Seconds that nobody has used it.' })),
    minMemory: Type.Optional(Type.Integer({ minimum: 1, maximum: 1 << 20, description: 'Megabytes that are free.' })),
    onDemand: Type.Optional(Type.Boolean({ description: 'Jobs begin only when somebody starts them.' })),
  },
  { additionalProperties: false },
);
export type JobRules = Static<typeof JobRules>;

export const QuoteInput = Type.Pick(JobInput, ['dataset', 'also', 'model', 'options'], { additionalProperties: false });

export { RunQuote };

const Points = Type.Array(Type.Unsafe<[number, number]>(Type.Array(Type.Number(), { minItems: 2, maxItems: 2 })), {
  description: 'Pairs of step and NLL, thinned.',
});

/** Without the path of the adapter, which lies in the vault. */
export const JobResult = Type.Omit(TuneResult, ['type', 'adapter']);
export type JobResult = Static<typeof JobResult>;

const KeptAdapter = Type.Object({ id: Id, version: Id });
const { type: _, cheaper: __, availableBytes: ___, ...quoted } = QuoteEvent.properties;

export const Job = Type.Object({
  id: Id,
  name: Type.String(),
  dataset: Id,
  also: Type.Optional(Type.Array(Id)),
  datasetName: Type.String({ description: 'Of all data sets that it learns from.' }),
  model: Type.String(),
  options: OpenRecord,
  heldout: Type.Optional(Id),
  start: Type.Optional(Id),
  teacher: Type.Optional(Id),
  state: JobState,
  message: Type.Optional(Type.String({ description: 'A sentence on how it came to be in this state.' })),
  causes: Causes,
  createdAt: Time,
  startedAt: Type.Optional(Time),
  finishedAt: Type.Optional(Time),
  stage: Type.Optional(Type.Enum([...Stage.enum, 'probe'])),
  doing: Type.Optional(Type.String({ description: 'What is being done, in words.' })),
  progress: Type.Optional(Type.Object({ done: Type.Number(), total: Type.Number() })),
  etaSeconds: Type.Optional(Type.Number()),
  seconds: Type.Number({ description: 'Of work so far, over all processes.' }),
  latest: Type.Optional(
    Type.Pick(StepEvent, ['step', 'steps', 'tokensPerSecond', 'rssBytes'], { description: 'Of the newest step.' }),
  ),
  curve: Type.Object({
    train: Points,
    validation: Points,
    steps: Type.Optional(Type.Integer({ description: 'How many there are going to be.' })),
    passes: Type.Optional(Type.Boolean({ description: "The points are ridge's passes, and steps have not begun." })),
  }),
  quote: Type.Optional(Type.Object(quoted)),
  result: Type.Optional(JobResult),
  adapter: Type.Optional(KeptAdapter),
  error: Type.Optional(
    Type.Object({
      message: Type.String(),
      code: Type.Optional(
        Type.String({ description: '`confirm`: something has changed, and the job can be started over.' }),
      ),
    }),
  ),
  lastEvent: Type.Integer({
    description: 'Number of the last event that all this tells of; those after it go on from it.',
  }),
});
export type Job = Static<typeof Job>;

/** A change of a job, for lists of jobs. `method`: of its options, if it was chosen. */
export const JobChange = Type.Object({
  ...Type.Pick(Job, ['id', 'state', 'message', 'stage', 'progress']).properties,
  method: Type.Optional(Type.String()),
});
export type JobChange = Static<typeof JobChange>;

/** Events of a job: those of tuning as they are, and what happens to the job itself. */
export const JobEvent = Type.Union([
  ...TuneEvent.anyOf,
  Type.Object({
    type: Type.Literal('state'),
    state: JobState,
    message: Type.Optional(Type.String()),
    causes: Causes,
  }),
  Type.Object({ type: Type.Literal('eta'), seconds: Type.Number() }),
  /** After tuning: the adapter is asked for private details of its data. */
  Type.Object({ type: Type.Literal('probing'), done: Count, total: Count }),
  Type.Object({ type: Type.Literal('result'), result: JobResult, adapter: Type.Optional(KeptAdapter) }),
]);
export type JobEvent = Static<typeof JobEvent>;
