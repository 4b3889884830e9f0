import { NUMBER_KEY, writtenNumber } from '../model/message.js';
import type { Message } from './example.js';

/** The texts of a message: its content, its thought, and what stands in the arguments of its calls. */

export interface MessagePart {
  /** Undefined for the content; `reasoning`; of an argument the way to it, as `calls/0/city`. */
  part?: string;
  text: string;
  /** Of an argument, its name: it says what the text is. */
  label?: string;
}

export function* partsOf({ content, reasoning, calls = [] }: Message): Generator<MessagePart> {
  yield { text: content };
  if (reasoning !== undefined) yield { part: 'reasoning', text: reasoning };
  for (const [i, { arguments: given }] of calls.entries()) yield* leavesOf(given, `calls/${i}`, '');
}

const pathOf = (path: string, key: string) => `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;

function* leavesOf(value: unknown, part: string, label: string): Generator<MessagePart> {
  const number = writtenNumber(value) ?? (typeof value === 'number' ? String(value) : undefined);
  if (typeof value === 'string' || number !== undefined) yield { part, text: number ?? (value as string), label };
  else if (typeof value === 'object' && value !== null) {
    const isList = Array.isArray(value);
    for (const [key, entry] of Object.entries(value)) yield* leavesOf(entry, pathOf(part, key), isList ? label : key);
  }
}

/** The message with other texts, by their parts; a number that is replaced becomes a text, or stays one (`numbers`: by its digits). */
export function withParts(
  message: Message,
  texts: ReadonlyMap<string | undefined, string>,
  numbers: 'texts' | 'numbers' = 'texts',
): Message {
  const { content, reasoning, calls } = message;
  const leaf = (value: unknown, part: string): unknown => {
    const changed = texts.get(part);
    const isNumber = typeof value === 'number' || writtenNumber(value) !== undefined;
    if (changed !== undefined) return isNumber && numbers === 'numbers' ? { [NUMBER_KEY]: changed } : changed;
    if (Array.isArray(value)) return value.map((entry, i) => leaf(entry, pathOf(part, String(i))));
    if (typeof value !== 'object' || value === null || NUMBER_KEY in value) return value;
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, leaf(entry, pathOf(part, key))]));
  };
  return {
    ...message,
    content: texts.get(undefined) ?? content,
    ...(reasoning !== undefined && { reasoning: texts.get('reasoning') ?? reasoning }),
    ...(calls && {
      calls: calls.map((call, i) => ({
        ...call,
        arguments: leaf(call.arguments, `calls/${i}`) as typeof call.arguments,
      })),
    }),
  };
}

/** Whether a part is a number among the arguments of a call. */
export function isNumberPart({ calls = [] }: Message, part: string | undefined): boolean {
  const [kind, call, ...path] = (part ?? '').split('/').map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (kind !== 'calls') return false;
  let at: unknown = calls[Number(call)]?.arguments;
  for (const key of path) at = (at as Record<string, unknown> | undefined)?.[key];
  return typeof at === 'number' || writtenNumber(at) !== undefined;
}

/** The text of a part. */
export function partOf(message: Message, part: string | undefined): string | undefined {
  for (const one of partsOf(message)) if (one.part === part) return one.text;
  return undefined;
}
