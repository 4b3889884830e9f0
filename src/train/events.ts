import Type, { type Static } from 'typebox';
import type { Problem } from '../examples/example.js';

/**
 * What a tuning run tells while it works, what it is going to take, and what came of it: plain JSON, for the command line, the app and
 * the log alike. Schemas, so that the server's contract holds them as they stand here; only types are taken elsewhere.
 */

const Count = Type.Integer({ minimum: 0 });
/** A measured figure; null if it is not a finite number, which JSON cannot write. */
const Figure = Type.Union([Type.Number(), Type.Null()]);

/** Mean negative log-likelihood in nats per response token, measured in stock libllama. */
export const MeasuredNll = Type.Object({ base: Type.Number(), adapted: Type.Number() });
export type MeasuredNll = Static<typeof MeasuredNll>;

/** What was lost: the bundled general questions, asked without and with the adapter. */
export const MeasuredGeneral = Type.Object({
  questions: Type.Integer({ minimum: 1 }),
  nll: Type.Object(MeasuredNll.properties, { description: 'Of the right answers.' }),
  right: Type.Object(
    { base: Count, adapted: Count },
    { description: 'Questions of which the right one of four answers is the likeliest, by the mean of its tokens.' },
  ),
});

export type MeasuredGeneral = Static<typeof MeasuredGeneral>;

export const Stage = Type.Enum(['hash', 'embed', 'ridge', 'qlora', 'measure', 'answers']);
export type Stage = Static<typeof Stage>;

/** Figures that are told before a run, and held against the truth after it. */
export const Quote = Type.Object({
  seconds: Type.Number(),
  memoryBytes: Type.Number(),
  diskBytes: Type.Number(),
  energyJoules: Type.Optional(Type.Number({ description: 'Where the device tells what it draws.' })),
  batteryPercent: Type.Optional(Type.Number({ description: 'Of the battery, for a run on it alone.' })),
  peakCelsius: Type.Optional(
    Type.Number({ description: 'Highest temperature, of the battery where it is told, else of the processor.' }),
  ),
});
export type Quote = Static<typeof Quote>;

/** Other settings of a run, and what they would take. */
const QuotedChoice = Type.Object({ ...Quote.properties, layers: Count });
export type QuotedChoice = Static<typeof QuotedChoice>;

/** A run's price before it begins. */
export const RunQuote = Type.Object({
  type: Type.Literal('quote'),
  ...Quote.properties,
  layers: Type.Integer({ description: 'Layers that would be adapted.' }),
  modelLayers: Type.Integer({ description: 'Layers that the model has.' }),
  cheaper: Type.Array(QuotedChoice),
  roughSeconds: Type.Number({ description: "Seconds that are an estimate by rule of thumb: ridge's." }),
  examples: Count,
  tokens: Type.Integer({ description: 'Response tokens that would be learnt.' }),
  warnings: Type.Array(Type.String(), { description: 'What the run would warn of.' }),
});
export type RunQuote = Static<typeof RunQuote>;

/** What an importer says of a record. */
export const RecordProblem = Type.Object({
  severity: Type.Enum(['error', 'warning']),
  kind: Type.Unsafe<Problem['kind']>(Type.String()),
  line: Type.Integer(),
  index: Type.Integer({ description: 'Number of the record; -1 for a remark on the whole file.' }),
  reason: Type.String(),
});

/** One linear is corrected. */
const FittedEvent = Type.Object({
  type: Type.Literal('fitted'),
  layer: Count,
  module: Type.String(),
  rank: Count,
  lambda: Type.Number(),
  explained: Type.Number({
    description: 'Share of the squared target that the correction explains in the training rows.',
  }),
  error: Type.Optional(
    Type.Number({ description: 'Share of it that is left in the validation rows, if there are any.' }),
  ),
});
export type FittedEvent = Static<typeof FittedEvent>;

/** One optimiser step; `loss` is the mean NLL of its response tokens before it. */
export const StepEvent = Type.Object({
  type: Type.Literal('step'),
  step: Count,
  steps: Count,
  epoch: Type.Number(),
  loss: Figure,
  learningRate: Type.Number(),
  gradientNorm: Figure,
  tokensPerSecond: Type.Number(),
  rssBytes: Type.Number(),
  seconds: Type.Number(),
});

/** What the gradient stage is going to take, with cheaper settings beside it. */
export const QuoteEvent = Type.Object({
  type: Type.Literal('quote'),
  ...QuotedChoice.properties,
  availableBytes: Type.Number(),
  cheaper: Type.Array(QuotedChoice),
});

export const TuneEvent = Type.Union([
  Type.Object({
    type: Type.Literal('data'),
    file: Type.String(),
    examples: Count,
    train: Count,
    validation: Count,
    heldout: Count,
    tokens: Type.Integer({ description: 'Response tokens that are learnt.' }),
  }),
  Type.Object({ type: Type.Literal('problem'), file: Type.String(), problem: RecordProblem }),
  Type.Object({ type: Type.Literal('warning'), message: Type.String() }),
  Type.Object({
    type: Type.Literal('model'),
    path: Type.String(),
    name: Type.String(),
    architecture: Type.String(),
    layers: Count,
    parameters: Count,
  }),
  /** The run has stopped at a checkpoint, or has not begun, because its rules ask something of the device; none: it goes on. */
  Type.Object({ type: Type.Literal('waiting'), reasons: Type.Array(Type.String()) }),
  Type.Object({ type: Type.Literal('stage'), stage: Stage, message: Type.String() }),
  /** `done` of `total` in a unit of the stage's own; an event each few hundred milliseconds. */
  Type.Object({ type: Type.Literal('progress'), stage: Stage, done: Type.Number(), total: Type.Number() }),
  FittedEvent,
  /** State after a pass that follows the labels (0: before the first), by our own graph. */
  Type.Object({
    type: Type.Literal('sweep'),
    sweep: Count,
    nll: Type.Object({ train: Figure, validation: Figure }),
  }),
  QuoteEvent,
  /** Goes on from a checkpoint of a stopped run; `layer`: in the ridge stage, before that layer. */
  Type.Object({ type: Type.Literal('resumed'), step: Count, layer: Type.Optional(Count) }),
  StepEvent,
  /** NLL of the validation examples by our own graph. */
  Type.Object({
    type: Type.Literal('validation'),
    step: Count,
    epoch: Type.Number(),
    nll: Figure,
    best: Type.Boolean(),
  }),
  /** Training from nothing came to less than ridge had by then, and begins again from ridge's factors. */
  Type.Object({ type: Type.Literal('restart'), step: Count }),
  /** A further run of training begins, whose result is averaged with the first's. */
  Type.Object({ type: Type.Literal('run'), run: Count, runs: Count, step: Count, steps: Count }),
  /** The loss left all bounds: training went back to the best state with half the learning rate. */
  Type.Object({
    type: Type.Literal('diverged'),
    step: Count,
    loss: Figure,
    backTo: Count,
    learningRate: Type.Number(),
  }),
]);
export type TuneEvent = Static<typeof TuneEvent>;

export const TuneResult = Type.Object({
  type: Type.Literal('result'),
  adapter: Type.String(),
  method: Type.String(),
  nll: Type.Object({
    ...MeasuredNll.properties,
    teacher: Type.Optional(
      Type.Number({ description: 'The base model with examples in its context, by our own graph: the yardstick.' }),
    ),
  }),
  measuredOn: Type.Enum(['heldout', 'validation', 'train']),
  tokens: Type.Integer({ description: 'Response tokens measured.' }),
  general: Type.Optional(MeasuredGeneral),
  seconds: Type.Number(),
  peakRssBytes: Type.Number(),
  bytes: Count,
  /** Steps of the gradient stage, and which one's state was kept. */
  steps: Type.Optional(Count),
  bestStep: Type.Optional(Count),
  runs: Type.Optional(Type.Integer({ description: 'Runs of the gradient stage whose mean the adapter is.' })),
  quote: Type.Optional(
    Type.Object({ quoted: QuotedChoice, truth: Quote }, { description: 'Quote and truth of the gradient stage.' }),
  ),
  /** Of the gradient stage, as those of `Quote`. */
  energyJoules: Type.Optional(Type.Number()),
  batteryPercent: Type.Optional(Type.Number()),
  peakCelsius: Type.Optional(Type.Number()),
});
export type TuneResult = Static<typeof TuneResult>;
