import type { Span } from '../finding.js';
import { digitsIn, luhn, mod97, type NumberRun } from './numbers.js';

/** Numbers of payment cards and bank accounts. */

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
const maxCardGroups = 5;
/** Lengths of the groups in which cards are printed. */
const SHAPES = new Set(['4 4 4 4', '4 6 5', '4 6 4', '4 4 4 4 3', '4 4 4 1', '6 13', '4 4 4 4 2']);

/** Numbers of payment cards: network, length, grouping and check digit are right. */
export function findCards(text: string, runs: readonly NumberRun[]): Span[] {
  const spans: Span[] = [];
  for (const run of runs) {
    const { groups } = run;
    for (let first = 0; first < groups.length; first++) {
      if (first === 0 && run.gluedLeft) continue;
      for (let last = first; last < Math.min(groups.length, first + maxCardGroups); last++) {
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

/** Length of an IBAN by country (SWIFT IBAN registry, release 97). */
const LENGTHS: Record<string, number> = Object.fromEntries(
  (
    'NO15 BE16 DK18 FI18 FO18 FK18 GL18 NL18 SD18 SI19 MK19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CR22 CH21 HR21 LI21 LV21 BG22 BH22 ' +
    'DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 TL23 SO23 AD24 CZ24 ES24 MD24 PK24 RO24 SA24 SE24 SK24 TN24 VG24 ' +
    'PT25 ST25 LY25 IS26 TR26 BI27 DJ27 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28 CY28 DO28 GT28 HU28 LB28 NI28 PL28 SV28 BR29 ' +
    'EG29 PS29 QA29 UA29 JO30 KW30 MU30 YE30 MT31 SC31 LC32 RU33'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);

const BEGIN = /(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])/g;

/** International bank account numbers: length of their country and check digits (ISO 13616) are right. */
export function findIbans(text: string): Span[] {
  const spans: Span[] = [];
  for (const { index: start } of text.matchAll(BEGIN)) {
    const length = LENGTHS[text.slice(start, start + 2).toUpperCase()];
    if (length === undefined) continue;
    let compact = '';
    let end = start;
    while (compact.length < length && end < text.length) {
      const char = text[end]!;
      if (/[A-Za-z0-9]/.test(char)) compact += char;
      else if (!/[ -]/.test(char) || !/[A-Za-z0-9]/.test(text[end + 1] ?? '')) break;
      end++;
    }
    if (compact.length < length || /[A-Za-z0-9]/.test(text[end] ?? '')) continue;
    if (mod97(compact.slice(4) + compact.slice(0, 4)) !== 1) continue;
    spans.push({ kind: 'iban', label: 'IBAN', certainty: 'certain', start, end });
  }
  return spans;
}
