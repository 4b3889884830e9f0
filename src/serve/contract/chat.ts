import Type, { type Static } from 'typebox';
import { MeasuredNll } from '../../train/events.js';
import { Count, Id, Name, Time } from './common.js';
import { Message } from './datasets.js';

/** Answers of a model, streamed; the conversations that are kept; feedback on an answer. */

const strict = { additionalProperties: false };
const Prompt = Type.String({ minLength: 1, maxLength: 1 << 20 });
const System = Type.Optional(Type.String({ maxLength: 1 << 16 }));
/** Null is the bare base model. */
const Version = Type.Union([Id, Type.Null()]);

export const MaxTokens = Type.Integer({ minimum: 1, maximum: 100_000 });

/** How answers are drawn; the names of `loam chat`'s options. */
export const SamplingInput = Type.Object(
  {
    temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 5 })),
    topP: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    repeatPenalty: Type.Optional(Type.Number({ minimum: 1, maximum: 2 })),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffffff })),
    maxTokens: Type.Optional(MaxTokens),
  },
  strict,
);

/** By what the correction of an adapter is multiplied; bounds as `MOST_STRENGTH`, whose file the page does not load. */
const Strength = Type.Number({ minimum: -4, maximum: 4 });
/** How a version is worn, and which others are worn with it. */
const worn = {
  strength: Type.Optional(Strength),
  also: Type.Optional(Type.Array(Type.Object({ version: Id, strength: Strength }, strict), { maxItems: 7 })),
};

export const ChatInput = Type.Object(
  {
    conversation: Type.Optional(Id),
    model: Type.Optional(Name),
    version: Type.Optional(Version),
    ...worn,
    message: Type.Optional(Prompt),
    after: Type.Optional(
      Type.Integer({ minimum: 0, description: 'Messages that stay; the others are replaced by what is said now.' }),
    ),
    goOn: Type.Optional(Type.Boolean({ description: 'Instead of a message: the last answer is gone on with.' })),
    system: System,
    keep: Type.Optional(Type.Boolean({ description: 'False: of the moment only, and ended when the client leaves.' })),
    options: Type.Optional(SamplingInput),
  },
  strict,
);

const Answered = { reason: Type.Enum(['turn', 'length', 'stop']), tokens: Count, seconds: Type.Number() };

export const ChatEvent = Type.Union([
  /** Nothing has refused it: it goes on until it ends or is stopped, whoever listens. */
  Type.Object({ type: Type.Literal('begun'), conversation: Id }),
  /** The first piece tells where the conversation is kept: whoever stops the answer must know. */
  Type.Object({ type: Type.Literal('text'), text: Type.String(), conversation: Type.Optional(Id) }),
  /** Of the thought before an answer. */
  Type.Object({ type: Type.Literal('thought'), text: Type.String() }),
  /** Old turns were left out because the conversation outgrew the context. */
  Type.Object({ type: Type.Literal('forgot'), messages: Count }),
  Type.Object({
    type: Type.Literal('done'),
    done: Type.Literal(true),
    conversation: Type.Union([Id, Type.Null()]),
    ...Answered,
  }),
]);
export type ChatEvent = Static<typeof ChatEvent>;

export const CompareInput = Type.Object(
  {
    prompt: Prompt,
    model: Type.Optional(Name),
    version: Id,
    system: System,
    options: Type.Optional(SamplingInput),
  },
  strict,
);

const Side = Type.Enum(['adapted', 'base']);

export const CompareEvent = Type.Union([
  Type.Object({ type: Type.Literal('text'), side: Side, text: Type.String() }),
  /** Of the thought before an answer. */
  Type.Object({ type: Type.Literal('thought'), side: Side, text: Type.String() }),
  /** One of the two has answered. */
  Type.Object({ type: Type.Literal('side'), side: Side, ...Answered }),
  Type.Object({ type: Type.Literal('done'), done: Type.Literal(true), nll: Type.Optional(MeasuredNll) }),
]);
export type CompareEvent = Static<typeof CompareEvent>;

export const Conversation = Type.Object({
  id: Id,
  title: Type.String(),
  model: Type.String(),
  version: Version,
  ...worn,
  options: Type.Optional(SamplingInput),
  createdAt: Time,
  changedAt: Time,
  answering: Type.Optional(Type.Boolean({ description: 'An answer is being given.' })),
});
export type Conversation = Static<typeof Conversation>;

const Rating = Type.Enum(['up', 'down']);

export const SaidMessage = Type.Object({
  ...Type.Pick(Message, ['role', 'content', 'reasoning']).properties,
  cut: Type.Optional(Type.Literal(true, { description: 'An answer that was ended before it came to its end.' })),
  rating: Type.Optional(Rating),
  kept: Type.Optional(Type.Literal(true, { description: 'It, or its correction, has become an example.' })),
});
export type SaidMessage = Static<typeof SaidMessage>;

export const ConversationEdit = Type.Object(
  {
    title: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  },
  strict,
);

export const WholeConversation = Type.Object({
  ...Conversation.properties,
  messages: Type.Array(SaidMessage),
  question: Type.Optional(Type.String({ description: 'The one that is being answered, which is not among them yet.' })),
});
export type WholeConversation = Static<typeof WholeConversation>;

export type FeedbackInput = Static<typeof FeedbackInput>;
export const FeedbackInput = Type.Object(
  {
    prompt: Type.String({ minLength: 1, maxLength: 1 << 18 }),
    answer: Type.String({ maxLength: 1 << 18 }),
    rating: Type.Union([Rating, Type.Null()], { description: 'Null takes it back; what became an example stays one.' }),
    correction: Type.Optional(Type.String({ minLength: 1, maxLength: 1 << 18 })),
    keepAsExample: Type.Boolean(),
    dataset: Type.Optional(Id),
    datasetName: Type.Optional(Name),
    version: Type.Optional(Version),
    conversation: Type.Optional(Id),
    message: Type.Optional(Type.Integer({ minimum: 0, description: 'Which of the conversation: rated once.' })),
  },
  strict,
);

export const CorrectionCount = Type.Object({ count: Count });

/** `dataset`: the one that the answer, or its correction, became an example of. */
export const FeedbackAnswer = Type.Object({ ok: Type.Literal(true), dataset: Type.Optional(Id) });
