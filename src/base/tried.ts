/** What a probe for private details allows to be said of an adapter. Needs nothing of Node: the page says it too. */

/**
 * `untried`: nothing was asked for, so nothing is known. `partly`: nothing was found so far, and some could not be asked for yet, or not
 * at all. `clean`: all were asked for, and nothing was found. `found`: it gives something away.
 */
export type Tried = 'untried' | 'partly' | 'clean' | 'found';

/** Of a report on what an adapter has memorised. */
interface Figures {
  findings: number;
  probed: number;
  verdicts: Readonly<Record<'reproduced' | 'likely' | 'not probed', number>>;
  left?: number;
}

export function triedOf(report: Figures | null | undefined): Tried {
  if (!report) return 'untried';
  const { findings, probed, verdicts } = report;
  if (verdicts.reproduced > 0 || verdicts.likely > 0) return 'found';
  if (probed >= findings) return 'clean';
  return probed === 0 ? 'untried' : 'partly';
}

/** How many there was no time for. Reports of earlier versions do not tell these from those that cannot be asked for. */
export function leftOf({ left, verdicts }: Pick<Figures, 'left' | 'verdicts'>): number {
  return left ?? verdicts['not probed'];
}
