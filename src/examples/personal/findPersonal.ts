import { type Example, isTrained } from '../example.js';
import { partsOf } from '../parts.js';
import { Pace } from '../source.js';
import { findAddresses } from './find/address.js';
import { findEmails, findIps, findPhones, findUrls } from './find/contact.js';
import { findDatesOfBirth } from './find/dateOfBirth.js';
import { findIdNumbers } from './find/idNumber.js';
import { findKeys } from './find/key.js';
import { findLabelled } from './find/labelled.js';
import { findNames } from './find/name.js';
import { numberRuns } from './find/numbers.js';
import { findCards, findIbans } from './find/payment.js';
import {
  type Finding,
  type FindingSummary,
  findingKinds,
  flatten,
  maskValue,
  placeholderNumbers,
  type Span,
  valueKey,
} from './finding.js';

/** The search for personal data in texts and examples; what each kind looks like stands in `find/`. */

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

/**
 * A name that answers this share of the examples holds is the voice that the person gives their assistant ("- Mara"), or they
 * themselves, and in every answer by intent.
 */
const PERSONA_SHARE = 0.25;
const PERSONA_LEAST = 5;

/** The words of an argument's name: phone_number and phoneNumber. */
const wordsOf = (name: string) => name.replace(/[_./-]+/g, ' ').replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2');

/** Finds within one example; numbers are given by `findPersonal`. */
function findInExample(example: Example, index: number): { finding: Omit<Finding, 'number'>; value: string }[] {
  const { line, index: record } = example.source;
  return example.messages.flatMap((message, m) => {
    const question = message.role === 'assistant' ? example.messages[m - 1]?.content : undefined;
    return [...partsOf(message)].flatMap(({ part, text, label }) =>
      findInText(text, label === undefined ? question : wordsOf(label)).map((span) => {
        const value = text.slice(span.start, span.end);
        const id = `${record}.${m}${part === undefined ? '' : `.${part}`}.${span.start}-${span.end}.${span.kind}`;
        const trained = isTrained(message);
        const place = {
          id,
          example: index,
          message: m,
          ...(part && { part }),
          role: message.role,
          trained,
          line,
          record,
        };
        return { finding: { ...span, ...place, preview: maskValue(span.kind, value) }, value };
      }),
    );
  });
}

/** Names that too many answers hold to be a secret. */
function personaOf(found: ReturnType<typeof findInExample>, examples: number): Set<string> {
  const holders = new Map<string, Set<number>>();
  for (const { finding, value } of found) {
    if (finding.kind !== 'name' || finding.role !== 'assistant') continue;
    const key = valueKey('name', value);
    const set = holders.get(key) ?? new Set();
    holders.set(key, set.add(finding.example));
  }
  const least = Math.max(PERSONA_LEAST, PERSONA_SHARE * examples);
  return new Set([...holders].filter(([, set]) => set.size >= least).map(([key]) => key));
}

/**
 * Personal data in examples, in order. Gives way to other work every few milliseconds. The name that the answers speak under is
 * left out unless `persona` is set.
 * @throws StoppedError when `signal` fires
 */
export async function findPersonal(
  examples: readonly Example[],
  options: { signal?: AbortSignal; persona?: boolean; onProgress?: (done: number, total: number) => void } = {},
): Promise<Finding[]> {
  const pace = new Pace(options.signal);
  const found: ReturnType<typeof findInExample> = [];
  for (const [index, example] of examples.entries()) {
    for (const finding of findInExample(example, index)) found.push(finding);
    if (pace.due) {
      options.onProgress?.(index, examples.length);
      await pace.rest();
    }
  }
  const persona = options.persona ? new Set<string>() : personaOf(found, examples.length);
  // Placeholders of an earlier redaction keep their numbers.
  const next = placeholderNumbers(examples);
  const numbers = new Map<string, number>();
  return found.flatMap(({ finding, value }) => {
    const key = `${finding.kind}\n${valueKey(finding.kind, value)}`;
    if (finding.kind === 'name' && persona.has(valueKey('name', value))) return [];
    let number = numbers.get(key);
    if (number === undefined) {
      number = (next.get(finding.kind) ?? 0) + 1;
      next.set(finding.kind, number);
      numbers.set(key, number);
    }
    return [{ ...finding, number }];
  });
}

/** Counts by kind. */
export function summarise(findings: readonly Finding[]): FindingSummary {
  const kinds: FindingSummary['kinds'] = {};
  const values = new Set<string>();
  for (const { kind, number } of findings) {
    const { findings: before = 0, values: known = 0 } = kinds[kind] ?? {};
    const isNew = !values.has(`${kind} ${number}`);
    kinds[kind] = { findings: before + 1, values: known + (isNew ? 1 : 0) };
    values.add(`${kind} ${number}`);
  }
  return { total: findings.length, kinds };
}
