/** What a model answers to the bundled general questions without and with an adapter: what the adapter has taken from it. */
export interface General {
  questions: number;
  /** Mean negative log-likelihood of the right answers, in nats per token. */
  nll: { base: number; adapted: number };
  /** Questions of which the model finds the right one of four answers the likeliest, by the mean of its tokens. */
  right: { base: number; adapted: number };
}

/** Beyond one of these an adapter has lost much: about four times what training loses by default. */
const much = { nats: 0.4, points: 5 } as const;

/** Nats per token, and points (questions of a hundred): positive where something was lost. */
export function lossOf({ questions, nll, right }: General): { nats: number; points: number; much: boolean } {
  const nats = nll.adapted - nll.base;
  const points = (100 * (right.base - right.adapted)) / questions;
  return { nats, points, much: nats > much.nats || points > much.points };
}

/** A change with its sign: "+0.12", "-0.03". */
export function signed(n: number, digits: number): string {
  const text = Math.abs(n).toFixed(digits);
  return `${Number(text) === 0 ? '±' : n < 0 ? '-' : '+'}${text}`;
}

/** "+0.12 nats per token, -2 points of right answers (65 to 63 of 100)". */
export function describeLoss(general: General): string {
  const { nats, points } = lossOf(general);
  const { right, questions } = general;
  const answers = `${right.base} to ${right.adapted} of ${questions}`;
  return `${signed(nats, 2)} nats per token, ${signed(-points, 0)} points of right answers (${answers})`;
}

/** What to do about much that was lost. */
export const lossAdvice =
  'This adapter has unlearnt much of what the base model could do besides: use it for what it was trained for only, apply it at less than its full strength, or train again with a larger --replay, a lower --lr or fewer --epochs.';
