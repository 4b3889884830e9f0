import { mod97 } from '../checksums.js';
import type { Span } from '../types.js';

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
