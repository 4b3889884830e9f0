import { createHash } from 'node:crypto';
import type { ChatMessage, Tool, ToolCall } from './message.js';
import { pythonJson } from './pythonJson.js';
import { sameCalls, type ToolForm } from './toolForms/form.js';
import { toolFormOf } from './toolForms/index.js';
import { describeResult, describeTools, plain } from './toolForms/plain.js';

/**
 * Tools, calls and thoughts as a chat template reads them: as transformers hands them over, where the template has use for them; else
 * written into the texts of the messages. What a template does is found by trying it.
 */

/** How a template is told of tools. */
export interface ToolUse {
  /** How calls are written. */
  form: ToolForm;
  /** What the template writes by itself: calls; tools, and calls stand in contents; nothing. */
  writes: 'calls' | 'tools' | 'nothing';
  /** Where it looks for tools: in the list of them, or in the system message; or nowhere, and texts of ours describe them. */
  tools: 'list' | 'message' | 'text';
  /** How it wants calls. */
  calls: CallStyle;
  /** Whether it takes a system message. Asked where it lists no tools: they are described there, or before the first question. */
  hasSystem: boolean;
}

/** A call is told as objects; some templates want its arguments as the text that they are sent as, or no content beside calls. */
interface CallStyle {
  asText: boolean;
  noContent: boolean;
}
const usual: CallStyle = { asText: false, noContent: false };
const callStyles: readonly CallStyle[] = [
  usual,
  { asText: true, noContent: false },
  { asText: false, noContent: true },
  { asText: true, noContent: true },
];

/** Fields under which templates look for a thought. */
const THOUGHT_FIELDS = ['reasoning_content', 'thinking', 'reasoning'] as const;
export type ThoughtField = (typeof THOUGHT_FIELDS)[number];

/** What a template is given in the place of messages and tools. */
export interface TemplateInput {
  messages: readonly Record<string, unknown>[];
  tools: readonly Record<string, unknown>[] | null;
}
type Render = (input: TemplateInput, addGenerationPrompt: boolean) => Promise<string>;

/** Whether messages are more than roles and texts. */
export const hasCalls = (messages: readonly ChatMessage[]) =>
  messages.some(({ role, calls }) => role === 'tool' || (calls !== undefined && calls.length > 0));
export const hasReasoning = (messages: readonly ChatMessage[]) =>
  messages.some(({ reasoning }) => reasoning !== undefined);

/** The thought and the content of an answer in one text, as models write them. */
export function withThought({ reasoning, content }: Pick<ChatMessage, 'reasoning' | 'content'>): string {
  return reasoning === undefined ? content : `<think>\n${reasoning}\n</think>\n\n${content}`;
}

const user = { role: 'user', content: 'a' };
const probeTool = {
  name: 'probe_tool',
  description: 'probe_text',
  parameters: { type: 'object', properties: { place: { type: 'string', description: 'b' } }, required: ['place'] },
};
const probeCalls: readonly ToolCall[] = [{ id: 'probe0001', name: 'probe_tool', arguments: { place: 'c d', n: 1 } }];

/** Finds how a template is to be told of tools. */
export async function findToolUse(source: string, render: Render): Promise<ToolUse> {
  const attempt = (input: TemplateInput, prompt: boolean) => render(input, prompt).catch(() => undefined);
  const told = await attempt({ messages: [{ role: 'system', content: 'probe_text' }, user], tools: null }, true);
  const hasSystem = told?.includes('probe_text') ?? false;
  const nothing: ToolUse = { form: plain, writes: 'nothing', tools: 'text', calls: usual, hasSystem };
  const form = toolFormOf(source);
  if (form === plain) return nothing;
  await form.prepare?.();
  const ending = await findEnding(render);
  for (const tools of ['list', 'message', 'text'] as const) {
    const use: ToolUse = { ...nothing, form, tools };
    const render = (answers: readonly Record<string, unknown>[], prompt: boolean) =>
      attempt(withTools([user, ...answers], [probeTool], use), prompt);
    const prompt = await render([], true);
    if (!prompt?.includes(probeTool.name)) continue;
    const read = (full: string | undefined) =>
      full === undefined ? undefined : form.parse(answerIn(full, prompt, ending));
    let isOther = false;
    let best: { calls: CallStyle; length: number } | undefined;
    for (const calls of callStyles) {
      const full = await render([callMessage('', probeCalls, calls)], false);
      isOther ||= full?.includes('c d') ?? false;
      if (full === undefined || !sameCalls(read(full)?.calls ?? [], probeCalls)) continue;
      // An empty content may be written as a message of its own.
      if (!best || full.length < best.length) best = { calls, length: full.length };
    }
    if (best) return { ...use, writes: 'calls', calls: best.calls };
    // It does write calls, in a form that is none of ours; its own words on tools would ask for that one.
    if (isOther || tools === 'text') return nothing;
    const answer = read(await render([{ role: 'assistant', content: form.write(probeCalls) }], false));
    if (sameCalls(answer?.calls ?? [], probeCalls)) return { ...use, writes: 'tools' };
  }
  return nothing;
}

/** What a template writes behind an answer. */
export async function findEnding(render: Render): Promise<string> {
  const full = await render(
    { messages: [user, { role: 'assistant', content: 'probe_text' }], tools: null },
    false,
  ).catch(() => '');
  const at = full.lastIndexOf('probe_text');
  return at < 0 ? '' : full.slice(at + 'probe_text'.length);
}

/** The answer of a rendered conversation as the model writes it, without what ends it; a prompt may open a thought that no answer shows. */
function answerIn(full: string, prompt: string, ending: string): string {
  const asked = [prompt, prompt.replace(/<think>\s*(<\/think>\s*)?$/, '')].find((text) => full.startsWith(text));
  return asked === undefined ? '' : withoutEnding(full.slice(asked.length), ending);
}

export function withoutEnding(answer: string, ending: string): string {
  return ending !== '' && answer.endsWith(ending) ? answer.slice(0, -ending.length) : answer;
}

/** Finds the field under which a template looks for a thought; undefined where thoughts stand in the content. */
export async function findThoughtField(source: string, render: Render): Promise<ThoughtField | undefined> {
  for (const field of THOUGHT_FIELDS) {
    if (!source.includes(field)) continue;
    const answer = { role: 'assistant', content: 'b', [field]: 'probe_text' };
    const text = await render({ messages: [user, answer], tools: null }, false).catch(() => '');
    if (text.includes('probe_text')) return field;
  }
  return undefined;
}

/** A tool as transformers hands it over. */
function toolForTemplate({ name, description, parameters }: Tool): Record<string, unknown> {
  const given = { name, ...(description !== undefined && { description }), ...(parameters && { parameters }) };
  return { type: 'function', function: given };
}

function callMessage(
  content: string,
  calls: readonly ToolCall[],
  { asText, noContent }: CallStyle,
): Record<string, unknown> {
  const list = calls.map(({ id, name, arguments: given }) => ({
    ...(id !== undefined && { id }),
    type: 'function',
    function: { name, arguments: asText ? pythonJson(given) : given },
  }));
  return { role: 'assistant', content: noContent && content === '' ? null : content, tool_calls: list };
}

/** Mistral's templates refuse every id that has not nine characters. */
const wantsShortIds = (source: string) => /length\s*(?:!=|<)\s*9/.test(source);

function shortId(id: string): string {
  if (/^[A-Za-z0-9]{9}$/.test(id)) return id;
  const hash = createHash('sha256').update(id).digest().readBigUInt64BE();
  return hash.toString(36).padStart(9, '0').slice(-9);
}

/** Messages in which each result names its tool and its call, and each call has an id if the template wants one. */
function paired(messages: readonly ChatMessage[], source: string): ChatMessage[] {
  const short = wantsShortIds(source);
  let open: ToolCall[] = [];
  let number = 0;
  return messages.map((message) => {
    if (message.calls) {
      const calls = message.calls.map((call) => {
        number++;
        return short ? { ...call, id: shortId(call.id ?? `call ${number}`) } : call;
      });
      open = [...calls];
      return { ...message, calls };
    }
    if (message.role !== 'tool') return message;
    const wanted = short && message.callId !== undefined ? shortId(message.callId) : message.callId;
    const byId = wanted === undefined ? -1 : open.findIndex(({ id }) => id === wanted);
    const [answered] = open.splice(Math.max(0, byId), 1);
    const callId = wanted ?? answered?.id ?? (short ? shortId(`result ${number}`) : undefined);
    const name = message.name ?? answered?.name;
    return { ...message, ...(callId !== undefined && { callId }), ...(name !== undefined && { name }) };
  });
}

/** Messages and tools for a template. `use`: undefined if nothing in them is about tools. */
export function forTemplate(
  { messages, tools = [] }: { messages: readonly ChatMessage[]; tools?: readonly Tool[] },
  source: string,
  { use, thought }: { use: ToolUse | undefined; thought: ThoughtField | undefined },
): TemplateInput {
  const thoughtful = messages.map((message): ChatMessage & Record<string, unknown> => {
    const { reasoning, ...rest } = message;
    if (reasoning === undefined) return message as ChatMessage & Record<string, unknown>;
    return thought === undefined ? { ...rest, content: withThought(message) } : { ...rest, [thought]: reasoning };
  });
  if (!use) return { messages: thoughtful, tools: null };
  const told = paired(thoughtful, source).map(({ calls, callId, ...message }) => {
    if (!calls || calls.length === 0) return callId === undefined ? message : { ...message, tool_call_id: callId };
    if (use.writes === 'calls') return { ...message, ...callMessage(message.content, calls, use.calls) };
    return { ...message, content: [message.content, use.form.write(calls)].filter(Boolean).join('\n') };
  });
  return withTools(use.writes === 'nothing' ? withoutResults(told as ChatMessage[]) : told, tools, use);
}

/** Messages with the tools where the template looks for them. */
function withTools(
  messages: readonly Record<string, unknown>[],
  tools: readonly Tool[],
  { form, tools: place, hasSystem }: Pick<ToolUse, 'form' | 'tools' | 'hasSystem'>,
): TemplateInput {
  if (tools.length === 0) return { messages, tools: null };
  if (place === 'list') return { messages, tools: tools.map(toolForTemplate) };
  const [first, ...others] = messages;
  if (place === 'message') {
    const told = { tools: pythonJson(tools.map((tool) => toolForTemplate(tool).function)) };
    if (first?.role === 'system') return { messages: [{ ...first, ...told }, ...others], tools: null };
    return { messages: [{ role: 'system', content: '', ...told }, ...messages], tools: null };
  }
  const text = describeTools(tools, form);
  const behind = ({ content }: Record<string, unknown>) => [content, text].filter(Boolean).join('\n\n');
  if (first?.role === 'system') return { messages: [{ ...first, content: behind(first) }, ...others], tools: null };
  if (hasSystem) return { messages: [{ role: 'system', content: text }, ...messages], tools: null };
  const asked = messages.findIndex(({ role }) => role === 'user');
  const before = (message: Record<string, unknown>) => ({
    ...message,
    content: `${text}\n\n${String(message.content)}`,
  });
  return { messages: messages.map((message, i) => (i === asked ? before(message) : message)), tools: null };
}

/** Results as texts of the roles that every template knows. */
function withoutResults(messages: readonly ChatMessage[]): Record<string, unknown>[] {
  const list: (Record<string, unknown> & { role: string; content: string })[] = [];
  let wasResult = false;
  for (const message of messages) {
    const { role, content } = message;
    const isResult = role === 'tool';
    const text = isResult ? describeResult(content) : content;
    const last = list.at(-1);
    // Many templates refuse two turns of one role in a row.
    if (last && last.role === 'user' && (isResult || role === 'user') && (isResult || wasResult))
      last.content += `\n${text}`;
    else list.push(isResult ? { role: 'user', content: text } : { ...message, content: text });
    wasResult = isResult;
  }
  return list;
}

/** Characters of what a template is given. */
export function charactersOf(messages: readonly ChatMessage[], tools: readonly Tool[] | undefined): number {
  const own = messages.reduce(
    (sum, { content, reasoning = '', calls }) =>
      sum + content.length + reasoning.length + (calls ? JSON.stringify(calls).length : 0),
    0,
  );
  return tools && tools.length > 0 ? own + JSON.stringify(tools).length : own;
}
