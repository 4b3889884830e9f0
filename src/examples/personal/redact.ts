import { resolve } from 'node:path';
import { LoamError, UsageError } from '../../base/errors.js';
import { requireWritable, writeFileAtomic } from '../../base/io.js';

import { pythonJson } from '../../model/pythonJson.js';
import { type Dataset, type Example, type Message, type NamedBytes, textOf } from '../example.js';
import { numberOf, WrittenNumber } from '../fields.js';
import { loadDataset, openRecords } from '../loadDataset.js';
import { partOf, withParts } from '../parts.js';
import { parseText } from '../readers/jsonText.js';
import { Pace, readSource } from '../source.js';
import { plainJson } from '../tools.js';
import { type Finding, type FindingKind, findingKinds, placeholder, type Span, valueKey } from './finding.js';
import { findInText, findPersonal, withoutOverlaps } from './findPersonal.js';

/** Placeholders in place of personal data: in one example, and in a copy of a whole file. */

/**
 * The example with placeholders in place of findings: the same value has the same number. A copy; the example stays as it is. Give
 * all findings of one example at once: after a redaction the offsets of the others are no longer true.
 * @param inPlaceOf what is written; default: the placeholder
 * @throws LoamError when a finding is not of this example as it stands
 */
export function redact(
  example: Example,
  findings: Finding | readonly Finding[],
  inPlaceOf: (finding: Finding, message: Message) => string = ({ kind, number }) => placeholder(kind, number),
): Example {
  const list = (Array.isArray(findings) ? [...findings] : [findings]) as Finding[];
  const messages = example.messages.map((message, m) => {
    const here = list.filter((finding) => finding.message === m).sort((a, b) => a.start - b.start);
    if (here.length === 0) return message;
    const texts = new Map<string | undefined, string>();
    for (const part of new Set(here.map((finding) => finding.part))) {
      const text = partOf(message, part);
      if (text === undefined) throw stale(example);
      let redacted = '';
      let at = 0;
      for (const finding of here.filter((one) => one.part === part)) {
        const { start, end } = finding;
        if (start < at || end > text.length || start >= end) throw stale(example);
        redacted += text.slice(at, start) + inPlaceOf(finding, message);
        at = end;
      }
      texts.set(part, redacted + text.slice(at));
    }
    return withParts(message, texts);
  });
  if (list.some(({ message, record }) => message >= messages.length || record !== example.source.index))
    throw stale(example);
  return { ...example, messages };
}

function stale(example: Example): LoamError {
  return new LoamError({
    code: 'conflict',
    found: 'a finding that is not of this record as it stands',
    where: `${example.source.file}, record ${example.source.index + 1}`,
    fix: 'search the edited data again',
  });
}

/** Writes a redacted copy of examples to another file. Throws UsageError for the file of the examples itself. */
export async function redactFile(
  data: string | NamedBytes,
  out: string,
  { kinds, columns, signal }: { kinds: ReadonlySet<FindingKind>; columns?: string; signal?: AbortSignal },
): Promise<RedactedDataset> {
  if (typeof data === 'string' && resolve(data) === resolve(out)) {
    throw new UsageError({
      found: '--out is the file of examples itself',
      expected: 'another file',
      fix: 'choose another name: the original is what you compare the copy with',
    });
  }
  await requireWritable(out);
  const result = await redactDataset(data, { takes: ({ kind }) => kinds.has(kind), columns, signal });
  await writeFileAtomic(out, result.bytes);
  return result;
}

/** Kinds that `findPersonal` looks for; passages are found only for a probe. */
export const searchedKinds = findingKinds.filter((kind) => kind !== 'phrase');

/** "all", or some of the kinds with commas between. Throws UsageError. */
export function parseKinds(list: string, where: string): ReadonlySet<FindingKind> {
  const kinds = list === 'all' ? searchedKinds : list.split(',').map((kind) => kind.trim());
  const unknown = kinds.find((kind) => !(searchedKinds as readonly string[]).includes(kind));
  if (unknown !== undefined) {
    const expected = `all, or some of ${searchedKinds.join(',')}`;
    throw new UsageError({ found: `"${unknown}"`, expected, where, fix: 'see --help' });
  }
  return new Set(kinds as FindingKind[]);
}

interface RedactedDataset {
  /** In the format of the original, as UTF-8. */
  bytes: Uint8Array;
  /** What was found and replaced, in the messages of the examples. */
  findings: Finding[];
  /** Replacements in all fields, those that are not learnt from included. */
  replaced: number;
  /** Records that are not in the copy, because they cannot be read or repeat another: nobody has looked through them. */
  leftOut: number;
  dataset: Dataset;
}

/**
 * A copy of a file of examples with placeholders in place of what `findPersonal` finds, in the same format. Every text of a usable record
 * is searched, fields that are not learnt from included. Records that cannot be used are left out.
 * @param options.takes which finds are replaced; default all
 * @throws as `loadDataset`
 */
export async function redactDataset(
  data: string | NamedBytes,
  options: { takes?: (span: Span) => boolean; signal?: AbortSignal; columns?: string } = {},
): Promise<RedactedDataset> {
  const { takes = () => true, signal, columns } = options;
  const pace = new Pace(signal);
  const source = await readSource(data, pace, columns);
  const dataset = await loadDataset(source, { signal });
  const findings = (await findPersonal(dataset.examples, { signal })).filter(takes);
  const values = new Map<Finding, string>();
  const ownOf = new Map<number, { span: Span; value: string }[]>();
  for (const finding of findings) {
    const { messages } = dataset.examples[finding.example]!;
    const value = partOf(messages[finding.message]!, finding.part)!.slice(finding.start, finding.end);
    values.set(finding, value);
    const { kind, label, certainty, start, end } = finding;
    const span = { kind, label, certainty, start, end };
    ownOf.set(finding.record, [...(ownOf.get(finding.record) ?? []), { span, value }]);
  }
  const replacer = new Replacer(findings, values, takes);
  const used = new Set(dataset.examples.map((example) => example.source.index));
  const file = await openRecords(source, pace);
  const records: unknown[] = [];
  let leftOut = 0;
  for await (const raw of file.records()) {
    if ('value' in raw && used.has(raw.index)) records.push(replacer.record(raw.value, ownOf.get(raw.index) ?? []));
    else if (raw.index >= 0) leftOut++;
  }
  const bytes = file.write(records);
  await requireWhole({ name: source.name, container: file.container, bytes }, dataset.examples, signal);
  return { bytes, findings, replaced: replacer.replaced, leftOut, dataset };
}

/** Reads a copy back: as many examples as there were, or where paragraphs may have moved none that cannot be used. */
async function requireWhole(copy: NamedBytes, examples: readonly Example[], signal?: AbortSignal): Promise<void> {
  const again = await loadDataset(copy, { signal });
  // Two records that differed in nothing but their values have become one.
  const repeats = again.problems.filter(({ kind }) => kind === 'duplicate').length;
  const isText = examples.some((example) => textOf(example)?.continues !== undefined);
  const isRead = !again.problems.some(({ severity }) => severity === 'error');
  if (isText ? isRead : again.examples.length + repeats === examples.length) return;
  throw new LoamError({
    code: 'failed',
    found: `the redacted copy would hold ${again.examples.length} examples`,
    expected: `${examples.length}`,
    where: copy.name,
    fix: 'this is a bug in Loam; please report it',
  });
}

/** What is replaced: values by kind and form, with the number of their placeholder. */
class Replacer {
  replaced = 0;
  private readonly numbers = new Map<string, number>();
  private readonly next = new Map<string, number>();

  constructor(
    findings: readonly Finding[],
    values: ReadonlyMap<Finding, string>,
    /** Whether a find outside the messages is replaced. */
    private readonly takes: (span: Span) => boolean,
  ) {
    for (const finding of findings) {
      this.numbers.set(this.key(finding, values.get(finding)!), finding.number);
      this.next.set(finding.kind, Math.max(this.next.get(finding.kind) ?? 0, finding.number));
    }
  }

  private key({ kind }: { kind: string }, value: string): string {
    return `${kind}\n${valueKey(kind as Span['kind'], value)}`;
  }

  /** `own`: what was found in the messages that this text is part of; there the message before may have said what it is. */
  text(text: string, own: readonly { span: Span; value: string }[]): string {
    const spans: Span[] = [];
    for (const { span, value } of own) {
      for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + value.length)) {
        spans.push({ ...span, start: at, end: at + value.length });
      }
    }
    for (const span of findInText(text)) {
      const known = this.numbers.has(this.key(span, text.slice(span.start, span.end)));
      // The name that answers speak under was not found, and is not to be replaced here either.
      if (this.takes(span) && (known || span.kind !== 'name')) spans.push(span);
    }
    let out = '';
    let at = 0;
    for (const span of withoutOverlaps(spans)) {
      out += text.slice(at, span.start) + placeholder(span.kind, this.numberOf(span, text.slice(span.start, span.end)));
      at = span.end;
      this.replaced++;
    }
    return out + text.slice(at);
  }

  private numberOf(span: Span, value: string): number {
    const key = this.key(span, value);
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const number = (this.next.get(span.kind) ?? 0) + 1;
    this.next.set(span.kind, number);
    this.numbers.set(key, number);
    return number;
  }

  /** Of a text that is a JSON object or list, as the arguments of a call are, the texts within; undefined for any other. */
  private json(text: string, own: readonly { span: Span; value: string }[]): string | undefined {
    if (!/^\s*[[{]/.test(text)) return undefined;
    let value: unknown;
    try {
      value = parseText(text);
    } catch {
      return undefined;
    }
    const before = this.replaced;
    const copy = this.record(value, own);
    return this.replaced === before ? text : pythonJson(plainJson(copy));
  }

  /** The same for every text of a record; names of fields stay. A number that is itself a find becomes a text. */
  record(value: unknown, own: readonly { span: Span; value: string }[]): unknown {
    if (typeof value === 'string') return this.json(value, own) ?? this.text(value, own);
    if (numberOf(value) !== undefined) {
      const number = value instanceof WrittenNumber ? value.text : String(value);
      const written = this.text(number, own);
      return written === number ? value : written;
    }
    if (Array.isArray(value)) return value.map((entry) => this.record(entry, own));
    if (typeof value !== 'object' || value === null) return value;
    const copy = Object.create(null) as Record<string, unknown>;
    for (const [name, entry] of Object.entries(value)) copy[name] = this.record(entry, own);
    return copy;
  }
}
