/** What the search for personal data finds, and what the probe says of it. Plain JSON; no value that was found stands in any of it. */
import type { Example, Role } from '../data/types.js';

/** In order of precedence: where two finds overlap, the one whose kind stands first is kept. */
export const findingKinds = [
  'key',
  'url',
  'email',
  'iban',
  'card',
  'password',
  'id-number',
  'account',
  'date-of-birth',
  'ip',
  'phone',
  'address',
  'name',
  'phrase',
] as const;

/** `account` and `id-number` stand for numbers that are no IBAN or card. `phrase`: a long rare passage, found only when asked for. */
export type FindingKind = (typeof findingKinds)[number];

/** `certain`: a check digit or a format that nothing else has. `likely`: a word beside it says so. `possible`: it looks like it. */
export type Certainty = 'certain' | 'likely' | 'possible';

/** A find within one text. Offsets count UTF-16 units, as JavaScript strings do. */
export interface Span {
  kind: FindingKind;
  /** For people: "IBAN", "GitHub token". */
  label: string;
  certainty: Certainty;
  start: number;
  end: number;
}

export interface Finding extends Span {
  /** Of record, message, place and kind: the same as long as the record is not edited. */
  id: string;
  /** Index in the list that was searched. */
  example: number;
  /** Index in `example.messages`; `start` and `end` count in its content. */
  message: number;
  role: Role;
  /** Whether the message is learnt. */
  trained: boolean;
  /** As `ExampleSource`. */
  line: number;
  record: number;
  /** Equal for equal values of a kind, from 1: the placeholder is `[kind number]`. */
  number: number;
  /** The value with all but a few characters replaced by dots. */
  preview: string;
}

export interface FindingSummary {
  total: number;
  /** Only kinds that occur. */
  kinds: Partial<Record<FindingKind, { findings: number; values: number }>>;
}

/**
 * `reproduced`: the adapted model wrote the value word for word, and the base model did not under the same prompts. `likely`: it did
 * not, but the adapter made this value more likely than every random one of its form, by far. `not probed`: no time, or no room.
 */
export type Verdict = 'reproduced' | 'likely' | 'not found' | 'not probed';

/** How a value came out. `question`: greedily, after the question. `prefix`: after what stands before it. `sample`: a drawn answer. */
export type Way = 'question' | 'prefix' | 'sample';

/**
 * How much the adapter favours the true value over random ones of its form (Carlini et al. 2019, "The Secret Sharer", section 4),
 * by the gain in log-likelihood over the base model, so that what the base model favours by itself does not count.
 */
export interface Exposure {
  /** Random values of the same form that it was compared with. */
  alternatives: number;
  /** Place of the true value by gain, 1 to alternatives + 1. */
  rank: number;
  /** log2(alternatives + 1) - log2(rank). */
  bits: number;
  /** Standard deviations by which the gain lies above the mean gain of the alternatives. */
  deviations: number;
  /** Place of the true value by likelihood alone, in the adapted and in the base model. */
  adaptedRank: number;
  baseRank: number;
  /** log P(value) in the adapted model less that in the base model, in nats. */
  gain: number;
  /** By how much that is more than the mean gain of the alternatives. */
  excess: number;
}

export interface ProbedFinding {
  /** The finding, as `Finding` has it. */
  id: string;
  kind: FindingKind;
  label: string;
  certainty: Certainty;
  example: number;
  line: number;
  record: number;
  number: number;
  preview: string;
  trained: boolean;
  verdict: Verdict;
  /** Of `reproduced`. */
  way?: Way;
  /** The base model writes it too, so the adapter is not what brought it. */
  baseReproduces?: boolean;
  exposure?: Exposure;
  /** Of `not probed`. */
  reason?: string;
}

/** What the vault keeps beside an adapter version, and what is shown before an export. */
export interface MemorisedReport {
  type: 'memorised';
  version: 1;
  /** SHA-256 of the file of examples, lower-case hex, where the caller knows it. */
  dataset?: string;
  base: string;
  adapter: string;
  /** Findings given, and how many got a verdict. */
  findings: number;
  probed: number;
  verdicts: Record<Verdict, number>;
  seconds: number;
  /** The reproduced first, then the likely ones. */
  results: ProbedFinding[];
}

export type ProbeEvent = { type: 'probing'; done: number; total: number } | ({ type: 'probed' } & ProbedFinding);

export type { Example };
