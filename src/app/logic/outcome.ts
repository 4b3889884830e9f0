import { type General, lossOf } from '../../base/lost.js';
import { t } from './language.js';

/** What a run came to, in words of people who have never heard of a loss. */

interface Nll {
  base: number;
  adapted: number;
}

/**
 * How much likelier the right next word has become: exp(base - adapted), the ratio of the mean (geometric) chances that both models
 * give it.
 */
export function gainOf({ base, adapted }: Nll): number {
  return Math.exp(base - adapted);
}

/** "It predicts your answers 3 times as well as before." */
export function inWords(nll: Nll): string {
  const gain = gainOf(nll);
  if (gain >= 10) return t('It predicts your answers {n} times as well as before.', { n: Math.round(gain) });
  if (gain >= 1.95) return t('It predicts your answers {n} times as well as before.', { n: Number(gain.toFixed(1)) });
  if (gain >= 1.03) return t('It predicts your answers {n}% better than before.', { n: Math.round(100 * (gain - 1)) });
  if (gain > 0.97)
    return t('It predicts your answers about as well as before: it has learnt little from these examples.');
  return t('It predicts your answers {n}% worse than before. Try more examples, or fewer epochs.', {
    n: Math.round(100 * (1 - gain)),
  });
}

/** What it has unlearnt, of the rest. */
export function lostInWords(general: General): string {
  const { points, much } = lossOf(general);
  const { questions, right } = general;
  const counts = { questions, after: right.adapted, before: right.base };
  if (much) {
    return t(
      'It has unlearnt much of the rest: of {questions} general questions it answers {after} right, before {before}. Use it for what you taught it.',
      counts,
    );
  }
  if (points > 0) {
    return t(
      'It has kept nearly all of the rest: of {questions} general questions it answers {after} right, before {before}.',
      counts,
    );
  }
  return t(
    'It has lost nothing of the rest: of {questions} general questions it answers {after} right, before {before}.',
    counts,
  );
}
