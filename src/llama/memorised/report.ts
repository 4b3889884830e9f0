import Type, { type Static } from 'typebox';
import { findingKinds } from '../../examples/personal/finding.js';

/**
 * What a probe says of an adapter: plain JSON, in which no value that was found stands. Schemas, so that the server's contract holds
 * them as they stand here; only types are taken elsewhere.
 */

const Count = Type.Integer({ minimum: 0 });

/**
 * `reproduced`: the adapted model wrote the value word for word, and the base model did not under the same prompts. `likely`: it did
 * not, but the adapter made this value more likely than every random one of its form, by far. `not probed`: no time, or no room.
 */
export const Verdict = Type.Enum(['reproduced', 'likely', 'not found', 'not probed']);
export type Verdict = Static<typeof Verdict>;

/** How a value came out. `question`: greedily, after the question. `prefix`: after what stands before it. `sample`: a drawn answer. */
export const Way = Type.Enum(['question', 'prefix', 'sample']);
export type Way = Static<typeof Way>;

/**
 * How much the adapter favours the true value over random ones of its form (Carlini et al. 2019, "The Secret Sharer", section 4),
 * by the gain in log-likelihood over the base model, so that what the base model favours by itself does not count.
 */
export const Exposure = Type.Object({
  alternatives: Type.Integer({ description: 'Random values of the same form that it was compared with.' }),
  rank: Type.Integer({ description: 'Place of the true value by gain, 1 to alternatives + 1.' }),
  bits: Type.Number({ description: 'log2(alternatives + 1) - log2(rank).' }),
  deviations: Type.Number({
    description: 'Standard deviations by which the gain lies above the mean gain of the alternatives.',
  }),
  /** Place of the true value by likelihood alone, in the adapted and in the base model. */
  adaptedRank: Count,
  baseRank: Count,
  gain: Type.Number({ description: 'log P(value) in the adapted model less that in the base model, in nats.' }),
  excess: Type.Number({ description: 'By how much that is more than the mean gain of the alternatives.' }),
});
export type Exposure = Static<typeof Exposure>;

/** `id` and the fields up to `trained` are the finding's, as the search has them. */
export const ProbedFinding = Type.Object({
  id: Type.String(),
  kind: Type.Enum(findingKinds),
  label: Type.String(),
  certainty: Type.Enum(['certain', 'likely', 'possible']),
  example: Count,
  line: Type.Integer(),
  record: Count,
  number: Count,
  preview: Type.String(),
  trained: Type.Boolean(),
  verdict: Verdict,
  way: Type.Optional(Way),
  baseReproduces: Type.Optional(
    Type.Boolean({ description: 'The base model writes it too, so the adapter is not what brought it.' }),
  ),
  exposure: Type.Optional(Exposure),
  reason: Type.Optional(Type.String({ description: 'Why it was not probed.' })),
});
export type ProbedFinding = Static<typeof ProbedFinding>;

/** What the vault keeps beside an adapter version, and what is shown before an export. */
export const MemorisedReport = Type.Object({
  type: Type.Literal('memorised'),
  version: Type.Literal(1),
  dataset: Type.Optional(
    Type.String({ description: 'SHA-256 of the file of examples, lower-case hex, where the caller knows it.' }),
  ),
  base: Type.String(),
  adapter: Type.String(),
  /** Findings given, and how many got a verdict. */
  findings: Count,
  probed: Count,
  verdicts: Type.Record(Verdict, Count),
  left: Type.Optional(Type.Integer({ minimum: 0, description: 'Of those not probed: for which there was no time.' })),
  seconds: Type.Number(),
  results: Type.Array(ProbedFinding, { description: 'The reproduced first, then the likely ones.' }),
});
export type MemorisedReport = Static<typeof MemorisedReport>;

export type ProbeEvent = { type: 'probing'; done: number; total: number } | ({ type: 'probed' } & ProbedFinding);
