import Type from 'typebox';

/** What the API takes and gives, as JSON Schema: validation, types and OpenAPI derive from these. */

export const Id = Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}$' });
export const Name = Type.String({ minLength: 1, maxLength: 200 });
const Text = Type.String({ maxLength: 1 << 20 });
/** Whatever a part of Loam keeps in a form of its own. */
export const Free = Type.Record(Type.String(), Type.Unknown());
export const Done = Type.Object({ ok: Type.Literal(true) });

export const MessageSchema = Type.Object(
  {
    role: Type.Enum(['system', 'user', 'assistant']),
    content: Text,
    train: Type.Optional(Type.Literal(false)),
  },
  { additionalProperties: false },
);

/** An example as it is typed: a question, perhaps with an input, and its answer; or a conversation. */
export const ExampleInput = Type.Union([
  Type.Object(
    { instruction: Text, input: Type.Optional(Text), output: Text, system: Type.Optional(Text) },
    { additionalProperties: false },
  ),
  Type.Object(
    { messages: Type.Array(MessageSchema, { minItems: 2, maxItems: 1000 }) },
    { additionalProperties: false },
  ),
]);

export const DatasetSchema = Type.Object({
  id: Id,
  name: Type.String(),
  createdAt: Type.String(),
  changedAt: Type.String(),
  bytes: Type.Integer(),
  sha256: Type.String(),
  examples: Type.Integer(),
  records: Type.Integer(),
  excluded: Type.Integer({ description: 'How many examples are left out.' }),
  findings: Type.Optional(Type.Unknown()),
});

export const ProblemSchema = Type.Object({
  severity: Type.Enum(['error', 'warning']),
  kind: Type.String(),
  line: Type.Integer(),
  index: Type.Integer(),
  reason: Type.String(),
});

export const ExampleView = Type.Object({
  index: Type.Integer({ description: 'Number of the record, which edits name.' }),
  line: Type.Integer(),
  excluded: Type.Boolean(),
  instruction: Type.Optional(Type.String()),
  input: Type.Optional(Type.String()),
  output: Type.Optional(Type.String()),
  messages: Type.Optional(Type.Array(MessageSchema)),
  problems: Type.Array(Type.Object({ severity: Type.String(), reason: Type.String() })),
  findings: Type.Array(Type.Unknown()),
});

export const ModelSchema = Type.Object({
  name: Type.String(),
  title: Type.String(),
  isDefault: Type.Boolean(),
  installed: Type.Boolean(),
  supported: Type.Boolean(),
  size: Type.Integer(),
  approximateSize: Type.Boolean(),
  partial: Type.Integer(),
  sha256: Type.Union([Type.String(), Type.Null()]),
  problem: Type.Union([Type.String(), Type.Null()]),
  fetchable: Type.Boolean(),
  licence: Type.Optional(Type.Object({ name: Type.String(), url: Type.String(), note: Type.Optional(Type.String()) })),
  download: Type.Optional(Free),
});

export const VersionSchema = Type.Object({
  id: Id,
  adapter: Id,
  number: Type.Integer(),
  createdAt: Type.String(),
  bytes: Type.Integer(),
  sha256: Type.String(),
  note: Type.String(),
  base: Type.Object({ name: Type.String(), sha256: Type.String() }),
  datasets: Type.Array(
    Type.Object({ id: Type.Optional(Id), name: Type.Optional(Type.String()), deleted: Type.Optional(Type.Boolean()) }),
  ),
  recipe: Type.Optional(Free),
  metrics: Type.Optional(Free),
  parent: Type.Optional(Id),
  imported: Type.Optional(Type.String()),
  memorised: Type.Optional(Type.Unknown()),
});

export const AdapterSchema = Type.Object({
  id: Id,
  name: Type.String(),
  createdAt: Type.String(),
  model: Type.Object({ name: Type.String(), sha256: Type.String() }),
  active: Type.Union([Id, Type.Null()]),
  versions: Type.Array(VersionSchema),
});

/** How answers are drawn; the names of `loam chat`'s options. */
export const SamplingInput = Type.Object(
  {
    temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 5 })),
    topP: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    repeatPenalty: Type.Optional(Type.Number({ minimum: 1, maximum: 2 })),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffffff })),
    maxTokens: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
  },
  { additionalProperties: false },
);

export const ConversationSchema = Type.Object({
  id: Id,
  title: Type.String(),
  model: Type.String(),
  version: Type.Union([Id, Type.Null()]),
  createdAt: Type.String(),
  changedAt: Type.String(),
  messages: Type.Array(Type.Object({ role: Type.String(), content: Type.String() })),
});

export const JobSchema = Type.Object({
  id: Id,
  name: Type.String(),
  state: Type.Enum(['queued', 'running', 'paused', 'interrupted', 'done', 'failed', 'cancelled']),
  message: Type.Optional(Type.String()),
  dataset: Id,
  datasetName: Type.String(),
  model: Type.String(),
  options: Free,
  heldout: Type.Optional(Id),
  start: Type.Optional(Id),
  teacher: Type.Optional(Id),
  createdAt: Type.String(),
  startedAt: Type.Optional(Type.String()),
  finishedAt: Type.Optional(Type.String()),
  etaSeconds: Type.Optional(Type.Number()),
  seconds: Type.Number(),
  stage: Type.Optional(Type.String()),
  progress: Type.Optional(Type.Object({ done: Type.Number(), total: Type.Number() })),
  curve: Type.Object({
    train: Type.Array(Type.Array(Type.Number())),
    validation: Type.Array(Type.Array(Type.Number())),
    steps: Type.Optional(Type.Number()),
  }),
  quote: Type.Optional(Free),
  result: Type.Optional(Free),
  adapter: Type.Optional(Type.Object({ id: Id, version: Id })),
  error: Type.Optional(Type.Object({ message: Type.String() })),
});
