import { findAddresses } from './find/address.js';
import { findCards } from './find/card.js';
import { findDatesOfBirth } from './find/dateOfBirth.js';
import { findEmails } from './find/email.js';
import { findIbans } from './find/iban.js';
import { findIdNumbers } from './find/idNumber.js';
import { findIps } from './find/ip.js';
import { findKeys } from './find/key.js';
import { findLabelled } from './find/labelled.js';
import { findNames } from './find/name.js';
import { findPhones } from './find/phone.js';
import { findUrls } from './find/url.js';
import { flatten } from './flatten.js';
import { numberRuns } from './numberRuns.js';
import { findingKinds, type Span } from './types.js';

const ASKS_PHONE =
  /\b(?:phone|mobile|cell|number to (?:call|ring)|telefon|handynummer|téléphone|teléfono|telefone)\b/iu;
const order = new Map(findingKinds.map((kind, i) => [kind, i]));
const certainties = { certain: 0, likely: 1, possible: 2 };

/**
 * Everything personal in one text, without overlaps, in order. `question` is the message that the text answers: it may say what a
 * bare number in the answer is. Time is linear in the length: each pattern is bounded, and looks at a bounded stretch around an
 * anchor such as @ or a digit.
 */
export function findInText(text: string, question?: string): Span[] {
  const flat = flatten(text);
  const asked = question === undefined ? undefined : flatten(question.slice(-4000));
  const runs = numberRuns(flat);
  const found = [
    ...findKeys(flat),
    ...findUrls(flat),
    ...findEmails(flat),
    ...findIbans(flat),
    ...findCards(flat, runs),
    ...findIdNumbers(flat, runs),
    ...findLabelled(flat, asked),
    ...findDatesOfBirth(flat),
    ...findIps(flat),
    ...findPhones(flat, runs, asked !== undefined && flat.length < 400 && ASKS_PHONE.test(asked)),
    ...findAddresses(flat, runs),
    ...findNames(flat),
  ];
  return withoutOverlaps(found);
}

/** Of overlapping finds the one of the first kind stays, of one kind the surer, then the longer one. */
export function withoutOverlaps(found: readonly Span[]): Span[] {
  // A random token that a format or a label explains is not the better find.
  const rank = (span: Span) => order.get(span.kind)! + (span.kind === 'key' && span.certainty === 'possible' ? 5.5 : 0);
  const sorted = [...found].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      certainties[a.certainty] - certainties[b.certainty] ||
      b.end - b.start - (a.end - a.start) ||
      a.start - b.start,
  );
  const taken = new Uint8Array(found.reduce((most, { end }) => Math.max(most, end), 0));
  const kept = sorted.filter(({ start, end }) => {
    if (taken.subarray(start, end).includes(1)) return false;
    taken.fill(1, start, end);
    return true;
  });
  return kept.sort((a, b) => a.start - b.start);
}
