import { bootstrapMean, type Estimate, pairedDifference, share } from '../../base/statistics.js';
import type { ToolCall } from '../../model/message.js';
import type { Question } from './questions.js';
import { chosen, contains, editSimilarity, equalCalls, exactMatch, jsonOf, sameJson } from './scores.js';

/** What answers come to, measure by measure, of the base model and of the adapter over the same questions. */

/** What came of asking one question once. */
export interface Outcome {
  /** The generated answer without its thought and its calls; absent if none was generated. */
  text?: string;
  calls?: readonly ToolCall[];
  /** Whether it was not at its end after as many tokens as were allowed. */
  cut?: true;
  /** Index of the likeliest choice. */
  pick?: number;
}

type Applies = (question: Question) => boolean;
interface Kind {
  applies: Applies;
  /** What has to have come of a question. */
  needs: 'text' | 'pick';
  /** From 0 to 1. */
  score(question: Question, outcome: Outcome & { text: string }): number;
}

const hasText: Applies = ({ accepted }) => accepted.length > 0;
const hasChoices: Applies = ({ choices }) => choices !== undefined;
const hasJson: Applies = ({ accepted }) => accepted.some((text) => jsonOf(text) !== undefined);
const hasCalls: Applies = ({ calls }) => calls.length > 0;
const ofText = (applies: Applies, score: (text: string, accepted: readonly string[]) => number): Kind => ({
  applies,
  needs: 'text',
  score: ({ accepted }, { text }) => score(text, accepted),
});

/** In the order in which they are shown. All but the similarity are shares: 0 or 1 for each question. */
const measures = {
  exact: ofText(hasText, exactMatch),
  contains: ofText(hasText, contains),
  similarity: ofText(hasText, editSimilarity),
  choice: {
    applies: hasChoices,
    needs: 'text',
    score: ({ choices }, { text }) => Number(choices!.right.includes(chosen(text, choices!.texts))),
  },
  likelihood: {
    applies: hasChoices,
    needs: 'pick',
    score: ({ choices }, { pick }) => Number(choices!.right.includes(pick!)),
  },
  json: ofText(hasJson, sameJson),
  validJson: ofText(hasJson, (text) => Number(jsonOf(text) !== undefined)),
  call: { applies: hasCalls, needs: 'text', score: ({ calls }, outcome) => equalCalls(outcome.calls ?? [], calls) },
  callName: {
    applies: hasCalls,
    needs: 'text',
    score: ({ calls }, outcome) => equalCalls(nameOnly(outcome.calls ?? []), nameOnly(calls)),
  },
} as const satisfies Record<string, Kind>;

export type MeasureName = keyof typeof measures;

const nameOnly = (calls: readonly ToolCall[]) => calls.map(({ name }) => ({ name, arguments: {} }));

export interface Measure {
  name: MeasureName;
  /** Questions that it applies to. */
  questions: number;
  base: Estimate;
  adapted?: Estimate;
  /** The adapter's mean less the base model's. */
  difference?: Estimate;
  /** Questions that the adapter answers better, and worse. */
  better?: number;
  worse?: number;
}

/** @param outcomes for each question, of the base model and, if there is an adapter, of it */
export function summarise(
  questions: readonly Question[],
  outcomes: { base: readonly Outcome[]; adapted?: readonly Outcome[] },
): Measure[] {
  return (Object.keys(measures) as MeasureName[]).flatMap((name) => {
    const { applies, needs, score }: Kind = measures[name];
    const asked = [...questions.keys()].filter((i) => applies(questions[i]!));
    const isThere = (list: readonly Outcome[]) => asked.every((i) => list[i]![needs] !== undefined);
    if (asked.length === 0 || !isThere(outcomes.base)) return [];
    const scoresOf = (list: readonly Outcome[]) =>
      asked.map((i) => score(questions[i]!, { ...list[i]!, text: list[i]!.text ?? '' }));
    const adapted = outcomes.adapted && scoresOf(outcomes.adapted);
    return [{ name, questions: asked.length, ...compare(name, scoresOf(outcomes.base), adapted) }];
  });
}

function compare(name: MeasureName, base: readonly number[], adapted: readonly number[] | undefined) {
  const isShare = name !== 'similarity';
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const estimate = (scores: readonly number[]) => (isShare ? share(sum(scores), scores.length) : bootstrapMean(scores));
  if (!adapted) return { base: estimate(base) };
  const changes = adapted.map((score, i) => score - base[i]!);
  const better = changes.filter((change) => change > 0).length;
  const worse = changes.filter((change) => change < 0).length;
  const both = sum(base.map((score, i) => score * adapted[i]!));
  const difference = isShare
    ? pairedDifference({ both, gained: better, lost: worse, neither: base.length - both - better - worse })
    : bootstrapMean(changes);
  return { base: estimate(base), adapted: estimate(adapted), difference, better, worse };
}
