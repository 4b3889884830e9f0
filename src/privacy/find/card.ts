import { luhn } from '../checksums.js';
import { digitsIn, type NumberRun } from '../numberRuns.js';
import type { Span } from '../types.js';

/** First digits and lengths of the networks (ISO/IEC 7812; their published ranges). */
const NETWORKS: readonly { label: string; begins: RegExp; lengths: readonly number[] }[] = [
  { label: 'Visa card', begins: /^4/, lengths: [13, 16, 19] },
  { label: 'Mastercard', begins: /^(?:5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720))/, lengths: [16] },
  { label: 'American Express card', begins: /^3[47]/, lengths: [15] },
  { label: 'Diners Club card', begins: /^3(?:0[0-5]|[689])/, lengths: [14] },
  { label: 'Discover card', begins: /^6(?:011|4[4-9]|5)/, lengths: [16] },
  { label: 'JCB card', begins: /^35(?:2[89]|[3-8])/, lengths: [16] },
  { label: 'UnionPay card', begins: /^62/, lengths: [16, 17, 18, 19] },
  { label: 'Maestro card', begins: /^(?:50|5[6-9]|6[0-9])/, lengths: [16, 18, 19] },
];
const MAX_GROUPS = 5;
/** Lengths of the groups in which cards are printed. */
const SHAPES = new Set(['4 4 4 4', '4 6 5', '4 6 4', '4 4 4 4 3', '4 4 4 1', '6 13', '4 4 4 4 2']);

/** Numbers of payment cards: network, length, grouping and check digit are right. */
export function findCards(text: string, runs: readonly NumberRun[]): Span[] {
  const spans: Span[] = [];
  for (const run of runs) {
    const { groups } = run;
    for (let first = 0; first < groups.length; first++) {
      if (first === 0 && run.gluedLeft) continue;
      for (let last = first; last < Math.min(groups.length, first + MAX_GROUPS); last++) {
        const count = digitsIn(groups, first, last);
        if (count > 19) break;
        if (count < 13) continue;
        const digits = text.slice(groups[first]!.start, groups[last]!.end).replace(/\D/g, '');
        if (last === groups.length - 1 && run.gluedRight) continue;
        if (last > first) {
          const separator = text.slice(groups[first]!.end, groups[first + 1]!.start);
          const even = groups
            .slice(first, last)
            .every((group, i) => text.slice(group.end, groups[first + i + 1]!.start) === separator);
          const shape = groups.slice(first, last + 1).map(({ start, end }) => end - start);
          if (!even || !/^[ .-]$/.test(separator) || !SHAPES.has(shape.join(' '))) continue;
        }
        const network = NETWORKS.find(({ begins, lengths }) => lengths.includes(digits.length) && begins.test(digits));
        if (network === undefined || !luhn(digits) || /^(\d)\1+$/.test(digits)) continue;
        const { start } = groups[first]!;
        const { end } = groups[last]!;
        spans.push({ kind: 'card', label: network.label, certainty: 'certain', start, end });
        first = last;
        break;
      }
    }
  }
  return spans;
}
