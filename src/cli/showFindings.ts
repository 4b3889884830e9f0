import { summarise } from '../privacy/findPersonal.js';
import type { Finding, FindingKind, Verdict } from '../privacy/types.js';
import { count } from '../util/format.js';
import type { Output } from './output.js';

/** Names of the kinds, one and several. */
const NAMES: Record<FindingKind, readonly [string, string]> = {
  key: ['key or token', 'keys and tokens'],
  url: ['URL with a secret', 'URLs with a secret'],
  email: ['e-mail address', 'e-mail addresses'],
  iban: ['IBAN', 'IBANs'],
  card: ['payment card', 'payment cards'],
  password: ['password or code', 'passwords and codes'],
  'id-number': ['identity number', 'identity numbers'],
  account: ['account number', 'account numbers'],
  'date-of-birth': ['date of birth', 'dates of birth'],
  ip: ['network address', 'network addresses'],
  phone: ['phone number', 'phone numbers'],
  address: ['postal address', 'postal addresses'],
  name: ['name of a person', 'names of people'],
  phrase: ['rare passage', 'rare passages'],
};
const ROLES = { system: 'system message', user: 'question', assistant: 'answer' } as const;
const order: Record<Finding['certainty'], number> = { certain: 0, likely: 1, possible: 2 };

export function countKinds(findings: readonly Finding[]): string {
  const { kinds } = summarise(findings);
  return Object.entries(kinds)
    .map(([kind, { values, findings: places }]) => {
      const name = NAMES[kind as FindingKind][values === 1 ? 0 : 1];
      return `${count(values)} ${name}${places > values ? ` in ${count(places)} places` : ''}`;
    })
    .join(', ');
}

/** What was found in examples, masked: counts, then the surest ones with their lines. */
export function showFindings(findings: readonly Finding[], most: number, output: Output): void {
  for (const finding of findings) output.event({ type: 'finding', ...finding });
  if (findings.length === 0) return;
  output.line(`\npersonal data in it: ${countKinds(findings)}`);
  const sorted = [...findings].sort((a, b) => order[a.certainty] - order[b.certainty]);
  for (const { line, record, role, label, preview, certainty } of sorted.slice(0, most)) {
    const doubt = certainty === 'possible' ? ' (perhaps)' : '';
    output.line(`  line ${count(line)}, record ${count(record + 1)}, ${ROLES[role]}: ${label} ${preview}${doubt}`);
  }
  if (findings.length > most) output.line(`  and ${count(findings.length - most)} more (--findings N shows more)`);
}

/** How a verdict is said. */
export const VERDICTS: Record<Verdict, string> = {
  reproduced: 'written out word for word',
  likely: 'favoured over random ones of its form',
  'not found': 'not found',
  'not probed': 'not probed',
};
