import { UsageError } from '../base/errors.js';
import { text } from '../base/options.js';
import { BadRecord, quoteName, type RawRecord } from './example.js';
import { hasMeaning, isObject } from './fields.js';

/** Which fields (JSON) or columns (CSV) are meant, where a file names them otherwise: "question=text,answer=category". */

/** What can be said of a field, and the name by which the rest of Loam knows it. */
const parts = {
  question: 'instruction',
  context: 'input',
  answer: 'output',
  system: 'system',
  messages: 'messages',
  text: 'text',
} as const;
type Part = keyof typeof parts;

/** A name may hold a comma. */
const nextPart = new RegExp(`,(?=\\s*(?:${Object.keys(parts).join('|')})\\s*=)`);

/** Names are compared without case, white space and dashes: so a table's header is read, too. */
export function plainName(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/[\s-]+/g, '_');
}

/** The fields of a file, as the person who knows it has named them. */
export class Columns {
  /** Known names by the file's own, plain ones. */
  private constructor(
    private readonly known: ReadonlyMap<string, string>,
    /** Of a messenger's chat: the name of the person whose messages are the answers. */
    readonly me: string | undefined,
    /** The file's own names, as they were given. */
    readonly chosen: Readonly<Partial<Record<Part, string>>>,
  ) {}

  /** @throws UsageError for another form, or a choice of which nothing could be learnt */
  static parse(list: string): Columns {
    const refuse = (found: string) =>
      new UsageError({
        found,
        expected: 'a list such as "question=text,answer=category"',
        where: '--columns',
        fix: `name some of ${Object.keys(parts).join(', ')}; or say who you are in a chat: me=NAME`,
      });
    const known = new Map<string, string>();
    const taken = new Set<string>();
    const chosen: Partial<Record<Part, string>> = {};
    const me = /^\s*me\s*=(.*)$/s.exec(list)?.[1]?.trim();
    if (me === '') throw refuse('"me" names nobody');
    if (me !== undefined) return new Columns(known, me, {});
    for (const pair of list.split(nextPart)) {
      const at = pair.indexOf('=');
      const [part, name] = [pair.slice(0, at).trim(), plainName(pair.slice(at + 1))];
      if (at < 0 || name === '') throw refuse(`${quoteName(pair.trim())} is not of the form PART=NAME`);
      if (!Object.hasOwn(parts, part)) throw refuse(`${quoteName(part)} is no part of an example`);
      if (taken.has(part) || known.has(name))
        throw refuse(`${quoteName(pair.trim())} says something for the second time`);
      taken.add(part);
      known.set(name, parts[part as Part]);
      chosen[part as Part] = pair.slice(at + 1).trim();
    }
    const has = (...wanted: Part[]) => wanted.every((part) => taken.has(part));
    if (!has('question', 'answer') && !has('messages') && !has('text')) {
      throw refuse('this names neither question and answer nor messages nor text');
    }
    return new Columns(known, undefined, chosen);
  }

  /** Whether columns are named by their numbers, as those of a table without a header row are: "#1". */
  get areNumbers(): boolean {
    return this.known.size > 0 && [...this.known.keys()].every((name) => /^#\d{1,4}$/.test(name));
  }

  /**
   * The names of a table or a record as the rest of Loam knows them. A field that nobody named keeps no meaning that its name has.
   * @throws BadRecord if one is missing that was named
   */
  rename(names: readonly string[]): string[] {
    const renamed = names.map((name) => this.known.get(plainName(name)) ?? (hasMeaning(name) ? `other ${name}` : name));
    for (const [name, known] of this.known) {
      if (renamed.includes(known) || known === parts.context || known === parts.system) continue;
      throw new BadRecord('missing-field', `field ${quoteName(name)} is missing`);
    }
    return renamed;
  }

  /** A record with the names that the rest of Loam knows. */
  apply(raw: RawRecord): RawRecord {
    if (!('value' in raw) || !isObject(raw.value)) return raw;
    const fields = Object.entries(raw.value);
    try {
      const names = this.rename(fields.map(([name]) => name));
      return { ...raw, value: Object.fromEntries(fields.map(([, value], i) => [names[i]!, value])) };
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error;
      return { line: raw.line, index: raw.index, fault: error };
    }
  }
}

export const columnsOption = text(
  'LIST',
  'Which fields or columns are which, if their names do not say it: "question=text,answer=category"; also context, system, messages, text. #1 is the first column of a table without a header row. Of a chat from WhatsApp or Telegram, who you are: "me=Anna"',
);

/** What to do about a file of which Loam does not know which field is which. */
export const COLUMNS_ADVICE =
  'say which is which with --columns question=NAME,answer=NAME, or call them "instruction", "input" (if there is one) and "output"';

/** Names that a person can choose among: what is longer is the text of a file that is no table. */
export function choosable(names: readonly string[]): string[] {
  return names.filter((name) => name.length <= 100).slice(0, 50);
}
