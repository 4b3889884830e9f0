import type { ChatMessage, ChatTemplate, RenderOptions } from './chatTemplate.js';

/**
 * Where a chat template puts the texts of a conversation: found by rendering it once more with marks around each text, not by looking for
 * the text, which may stand elsewhere as well.
 */

/** Of a text in what was rendered. */
export interface TextSpan {
  /** Number of its message. */
  message: number;
  start: number;
  end: number;
}

interface Placed {
  /** In the order of the rendered text. */
  spans: TextSpan[];
  /** Numbers of messages of which a text is nowhere. */
  missing: ReadonlySet<number>;
}

/** Whose a marked text is. */
interface Owner {
  message: number;
  core: string;
}

/** Characters of a private plane, which no text has a use for: two borders, and numbers of texts. */
const [BEGIN, END, FIRST] = [0x10fffa, 0x10fffb, 0x10e000];
const MOST_TEXTS = 8000;
const marks = new RegExp(`[\\u{${FIRST.toString(16)}}-\\u{10ffff}]`, 'u');

/**
 * The texts of a message: of an answer what stands before, between and behind the marks of a thought, which templates look for, and the
 * texts within the arguments of its calls.
 */
export function* textsOf(message: ChatMessage): Generator<string> {
  yield message.content;
  if (message.reasoning !== undefined) yield message.reasoning;
  for (const call of message.calls ?? []) yield* textsWithin(call.arguments);
}

function* textsWithin(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (typeof value === 'object' && value !== null)
    for (const entry of Object.values(value)) yield* textsWithin(entry);
}

/** The same value with other texts; keys stay. */
function mapTexts(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value);
  if (Array.isArray(value)) return value.map((entry) => mapTexts(entry, map));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, mapTexts(entry, map)]));
}

/** A message with marks around its texts. */
function markMessage(message: ChatMessage, mark: (text: string) => string): ChatMessage {
  const { role, content, reasoning, calls } = message;
  const parts = role === 'assistant' ? content.split(/(<\/?think>)/) : [content];
  return {
    ...message,
    content: parts.map((part) => (/^<\/?think>$/.test(part) ? part : mark(part))).join(''),
    ...(reasoning !== undefined && { reasoning: mark(reasoning) }),
    ...(calls && {
      calls: calls.map((call) => ({ ...call, arguments: mapTexts(call.arguments, mark) as typeof call.arguments })),
    }),
  };
}

/** @param plain the conversation as rendered without marks. @returns undefined where a template does something else with marked texts than with plain ones, as one that looks at their length. */
export async function place(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  { prompt, ...options }: RenderOptions & { prompt: boolean },
  plain: string,
): Promise<Placed | undefined> {
  if (messages.some((message) => [...textsOf(message)].some((text) => marks.test(text)))) return undefined;
  const owners: Owner[] = [];
  const marked = messages.map((message, m) =>
    markMessage(message, (text) => {
      const core = text.trim();
      if (core === '' || /^<\/?think>$/.test(core)) return text;
      const at = text.indexOf(core);
      const number = String.fromCodePoint(FIRST + owners.length);
      owners.push({ message: m, core });
      const begin = String.fromCodePoint(BEGIN) + number;
      return `${text.slice(0, at)}${begin}${core}${String.fromCodePoint(END)}${number}${text.slice(at + core.length)}`;
    }),
  );
  if (owners.length > MOST_TEXTS) return undefined;
  const rendered = await template.render(marked, prompt, options).catch(() => undefined);
  return rendered === undefined ? undefined : readMarks(rendered, plain, owners);
}

function readMarks(rendered: string, plain: string, owners: readonly Owner[]): Placed | undefined {
  const spans: TextSpan[] = [];
  const found = new Set<number>();
  const begun = new Map<number, number>();
  let text = '';
  const parts = rendered.split(/([\u{10fffa}\u{10fffb}].)/u);
  for (const [i, part] of parts.entries()) {
    if (i % 2 === 0) {
      text += part;
      continue;
    }
    const [border, number] = Array.from(part, (char) => char.codePointAt(0)!) as [number, number];
    const k = number - FIRST;
    if (border === BEGIN) begun.set(k, text.length);
    else {
      const [owner, start] = [owners[k], begun.get(k)];
      // As it stands, or as JSON writes it: a text that is changed is missing.
      if (owner === undefined || start === undefined || !isWritten(text.slice(start), owner.core)) continue;
      spans.push({ message: owner.message, start, end: text.length });
      found.add(k);
    }
  }
  if (text !== plain) return undefined;
  const missing = new Set(owners.filter((_, k) => !found.has(k)).map(({ message }) => message));
  return { spans: spans.sort((a, b) => a.start - b.start), missing };
}

function isWritten(text: string, core: string): boolean {
  return text === core || (text.length > core.length && text === JSON.stringify(core).slice(1, -1));
}
