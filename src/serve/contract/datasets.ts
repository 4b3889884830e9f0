import Type, { type Static } from 'typebox';
import { findingKinds } from '../../examples/personal/finding.js';
import { RecordProblem } from '../../train/events.js';
import { AdapterVersion } from './adapters.js';
import { Bytes, Count, Id, Name, Sha256, Text, Time } from './common.js';
import { JobState } from './jobs.js';

/** Data sets of the vault: their examples, what was found in them, what a model would learn of them. */

const strict = { additionalProperties: false };

const ToolCall = Type.Object(
  {
    id: Type.Optional(Type.String({ maxLength: 200 })),
    name: Type.String({ minLength: 1, maxLength: 200 }),
    arguments: Type.Record(Type.String(), Type.Unknown()),
  },
  strict,
);

const Tool = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    description: Type.Optional(Text),
    parameters: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: 'A JSON schema of type object.' }),
    ),
  },
  strict,
);

export const Message = Type.Object(
  {
    role: Type.Enum(['system', 'user', 'assistant', 'tool']),
    content: Text,
    reasoning: Type.Optional(Text),
    calls: Type.Optional(Type.Array(ToolCall, { maxItems: 1000, description: 'Tools that an answer calls.' })),
    name: Type.Optional(Type.String({ maxLength: 200, description: 'Of a result: the tool.' })),
    callId: Type.Optional(Type.String({ maxLength: 200, description: 'Of a result: the id of its call.' })),
    train: Type.Optional(Type.Literal(false, { description: 'An answer that is read and not learnt.' })),
  },
  strict,
);
export type Message = Static<typeof Message>;

const Continues = Type.String({
  maxLength: 100,
  description: 'Of a text that goes on in the next record: the white space between the two.',
});

/** An example as it is typed: a question, perhaps with an input, and its answer; a conversation; or a plain text. */
export const ExampleInput = Type.Union([
  Type.Object({ instruction: Text, input: Type.Optional(Text), output: Text, system: Type.Optional(Text) }, strict),
  Type.Object(
    {
      messages: Type.Array(Message, { minItems: 2, maxItems: 1000 }),
      tools: Type.Optional(Type.Array(Tool, { maxItems: 1000 })),
    },
    strict,
  ),
  Type.Object({ text: Text, continues: Type.Optional(Continues) }, strict),
]);
export type ExampleInput = Static<typeof ExampleInput>;

const FindingKind = Type.Enum(findingKinds);
export type FindingKind = Static<typeof FindingKind>;

/** What stands in answers in place of a private detail, by kind. */
const OwnWords = Type.Partial(Type.Record(FindingKind, Type.String({ minLength: 1, maxLength: 200 })));

/** How many private details there are, by kind; only kinds that occur. */
export const FindingSummary = Type.Object({
  total: Count,
  kinds: Type.Partial(Type.Record(FindingKind, Type.Object({ findings: Count, values: Count }))),
});

export const DatasetInfo = Type.Object({
  id: Id,
  name: Type.String(),
  createdAt: Time,
  changedAt: Time,
  bytes: Bytes,
  sha256: Sha256,
  container: Type.Optional(Type.String({ description: 'Its format: json, jsonl, csv, text, markdown.' })),
  columns: Type.Optional(Type.String({ description: 'Which of its fields are which.' })),
  examples: Type.Integer({ description: 'Usable ones, the excluded among them.' }),
  records: Type.Integer({ description: 'Records found, usable or not.' }),
  excluded: Type.Integer({ description: 'How many examples are left out.' }),
  findings: Type.Optional(FindingSummary),
});
export type DatasetInfo = Static<typeof DatasetInfo>;

/** The answer to an upload. */
export const AddedDataset = Type.Object({ ...DatasetInfo.properties, problems: Type.Array(RecordProblem) });

/** A private detail, masked. */
export const Finding = Type.Object({
  id: Type.String(),
  kind: FindingKind,
  label: Type.String({ description: 'For people: "IBAN".' }),
  certainty: Type.Enum(['certain', 'likely', 'possible']),
  field: Type.String({ description: 'Where the example is shown as fields: instruction, input and output, or text.' }),
  message: Type.Integer({ description: 'Where it is shown as messages: which of them.' }),
  part: Type.Optional(
    Type.String({
      description: 'Not in its content: reasoning, or the way to an argument of a call, as calls/0/city.',
    }),
  ),
  start: Count,
  end: Count,
  number: Type.Integer({ description: 'Equal for equal values of a kind: redacted, it is [kind number].' }),
  preview: Type.String(),
});
export type Finding = Static<typeof Finding>;

export const ExampleRow = Type.Object({
  index: Type.Integer({ description: 'Number of the record, which edits name.' }),
  line: Type.Integer(),
  excluded: Type.Boolean(),
  instruction: Type.Optional(Type.String()),
  input: Type.Optional(Type.String()),
  output: Type.Optional(Type.String()),
  messages: Type.Optional(Type.Array(Message)),
  tools: Type.Optional(Type.Array(Tool)),
  text: Type.Optional(Type.String()),
  continues: Type.Optional(Continues),
  problems: Type.Array(Type.Pick(RecordProblem, ['severity', 'kind', 'reason'])),
  findings: Type.Array(Finding),
});
export type ExampleRow = Static<typeof ExampleRow>;

export const ExampleFilter = Type.Enum(['all', 'problems', 'findings', 'excluded']);
export type ExampleFilter = Static<typeof ExampleFilter>;

export const ExamplePage = Type.Object({
  total: Count,
  sha256: Type.String({ description: 'Of the content that the numbers refer to.' }),
  examples: Type.Array(ExampleRow),
  problems: Type.Array(RecordProblem),
  inAnswers: Type.Array(FindingKind, { description: 'Kinds of private details in what is learnt.' }),
  counts: Type.Record(ExampleFilter, Count),
});
export type ExamplePage = Static<typeof ExamplePage>;

const Index = Type.Integer({ minimum: 0 });

/** Changes to a data set. Numbers are those of the content that `sha256` names. */
export const DatasetEdit = Type.Object(
  {
    sha256: Type.Optional(Type.String({ maxLength: 64 })),
    name: Type.Optional(Name),
    exclude: Type.Optional(Type.Array(Index)),
    include: Type.Optional(Type.Array(Index)),
    edit: Type.Optional(Type.Array(Type.Object({ index: Index, example: ExampleInput }, strict))),
    redact: Type.Optional(
      Type.Union([
        Type.Literal('all'),
        Type.Array(Type.Object({ index: Index, findingId: Type.String({ maxLength: 200 }) }, strict)),
      ]),
    ),
    answers: Type.Optional(
      Type.Union([Type.Literal('keep'), Type.Literal('leave-out'), OwnWords], {
        description:
          'With `redact`, what of answers in which something was found: they are learnt with the placeholders (keep), not learnt, or have words of the caller in their place.',
      }),
    ),
    add: Type.Optional(Type.Array(ExampleInput)),
    repair: Type.Optional(
      Type.Array(Type.Object({ index: Index, example: ExampleInput }, strict), {
        description: 'What stands in the place of records that could not be used.',
      }),
    ),
  },
  strict,
);
export type DatasetEdit = Static<typeof DatasetEdit>;

const { kind, reason } = RecordProblem.properties;

const Left = Type.Array(Type.Object({ kind, reason, records: Count, line: Type.Integer() }), {
  description: 'Why records are left out, the most frequent reason first, with the line of the first such record.',
});

/** Records that cannot be learnt, as they stand, and what there is of a question and an answer in each. */
export const RefusedPage = Type.Object({
  sha256: Type.String({ description: 'Of the content that the numbers refer to.' }),
  left: Left,
  total: Count,
  records: Type.Array(
    Type.Object({
      index: Type.Integer(),
      line: Type.Integer(),
      kind,
      reason,
      text: Type.String(),
      draft: Type.Object({
        instruction: Type.String(),
        input: Type.String(),
        output: Type.String(),
        system: Type.String(),
      }),
    }),
  ),
});
export type RefusedPage = Static<typeof RefusedPage>;

const ColumnName = Type.Optional(Type.String());

/** What a file would be learnt as, before it is added. */
export const DatasetLook = Type.Object({
  columns: Type.Optional(Type.String({ description: 'How it would be read: to be given when it is added.' })),
  guessed: Type.Boolean({ description: 'Whether that is a guess, which the person should see.' }),
  table: Type.Optional(
    Type.Object({
      columns: Type.Array(Type.Object({ name: Type.String(), sample: Type.String() })),
      chosen: Type.Object({ question: ColumnName, context: ColumnName, answer: ColumnName, system: ColumnName }),
    }),
  ),
  chat: Type.Optional(
    Type.Object({
      people: Type.Array(Type.String()),
      me: Type.String({ description: 'Whose messages are the answers.' }),
    }),
  ),
  container: Type.Optional(Type.String()),
  records: Count,
  examples: Type.Integer({ description: 'Usable ones.' }),
  first: Type.Array(
    Type.Pick(ExampleRow, ['instruction', 'input', 'output', 'messages', 'tools', 'text', 'continues']),
  ),
  left: Left,
  problem: Type.Optional(
    Type.Object({ message: Type.String(), code: Type.String() }, { description: 'Why none can be used.' }),
  ),
});
export type DatasetLook = Static<typeof DatasetLook>;

/** What depends on a data set: versions that can be deleted with it, and jobs that end with it. */
export const Dependents = Type.Object({
  versions: Type.Array(Type.Object({ ...AdapterVersion.properties, adapterName: Type.String() })),
  jobs: Type.Array(Type.Object({ id: Id, name: Type.String(), state: JobState })),
});
export type Dependents = Static<typeof Dependents>;

const Place = { index: Type.Integer(), line: Type.Integer(), tokens: Count };

/** What a model would learn from examples. Numbers are those of records. */
export const ExamplePreview = Type.Object({
  examples: Type.Array(
    Type.Object({
      ...Place,
      trained: Count,
      pieces: Type.Array(Type.Object({ text: Type.String(), trained: Type.Boolean() })),
    }),
  ),
  tooLong: Type.Array(Type.Object(Place)),
  refused: Type.Array(RecordProblem),
  remarks: Type.Array(
    Type.String({ description: 'What the chat template has no way of its own for, and how it is learnt.' }),
  ),
  divided: Type.Array(Type.Pick(Type.Object(Place), ['index', 'line'])),
  usable: Count,
  sequences: Count,
  trainedTokens: Count,
  maxTokens: Count,
  contextLength: Count,
  histogram: Type.Array(Type.Object({ from: Count, to: Count, count: Count })),
});
export type ExamplePreview = Static<typeof ExamplePreview>;

export const DatasetPreview = Type.Object({
  ...ExamplePreview.properties,
  records: Count,
  problems: Type.Array(RecordProblem),
  format: Type.Object({ container: Type.String(), shape: Type.String() }),
});
export type DatasetPreview = Static<typeof DatasetPreview>;
