import { isDeepStrictEqual } from 'node:util';
import type { Reply } from './server.js';

/** What a field of the API does, how that is seen, and the table of the fields of an endpoint. */

export interface Field {
  name: string;
  /** `none`: taken, and the answer is the same; `only`: refused but for one value, which changes nothing. */
  how: 'works' | 'none' | 'only' | 'refused';
  /** For the table. */
  note: string;
  /** What is sent; other fields beside it in `beside`. */
  value: unknown;
  other?: unknown;
  beside?: object;
  /** Whether an answer shows that it worked; default: it is another than without the field. */
  shows?: (reply: Reply, plain: Reply, said: (reply: Reply) => unknown) => boolean;
}

export interface Endpoint {
  path: string;
  /** A whole request. */
  plain: Record<string, unknown>;
  /** What is compared of two answers. */
  said(reply: Reply): unknown;
  fields: readonly Field[];
  /** Whether a field that is not listed is passed over; else it is refused by its name. */
  isOpen?: boolean;
}

type Shows = Field['shows'];
/** @param beside other fields that it needs */
export const works = (name: string, value: unknown, note: string, shows?: Shows, beside?: object): Field => ({
  name,
  how: 'works',
  value,
  note,
  shows,
  beside,
});
export const none = (name: string, value: unknown, note: string): Field => ({ name, how: 'none', value, note });
/** @param other a value that is refused; `value` is not */
export const only = (name: string, value: unknown, other: unknown, note?: string): Field => ({
  name,
  how: 'only',
  value,
  other,
  note: note ?? `but \`${JSON.stringify(value)}\``,
});
export const refused = (value: unknown, note: string, ...names: string[]): Field[] =>
  names.map((name) => ({ name, how: 'refused', value, note }));

export const isRefused: Shows = ({ status }) => status === 400 || status === 404;
export const isSame: Shows = (reply, plain, said) =>
  reply.status === 200 && isDeepStrictEqual(said(reply), said(plain));
export const isStream: Shows = ({ headers, text }) =>
  String(headers['content-type']).startsWith('text/event-stream') && text.includes('data: ');

/** What differs between two answers that say the same. */
export function withoutHead(text: string): string {
  return text.replace(/"(id|item_id)":"[^"]*"/g, '').replace(/"created(_at)?":\d+/g, '');
}

const words = { works: 'works', none: 'no effect', only: 'refused', refused: 'refused' };

/** The table of an endpoint, in Markdown. */
export function tableOf({ fields }: Endpoint): string {
  const rows = fields.map(({ name, how, note }) => [`\`${name}\``, words[how], note]);
  const all = [['field', '', ''], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(all[0]!), rule, ...rows.map(line)].join('\n');
}
