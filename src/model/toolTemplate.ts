import { createHash } from 'node:crypto';
import type { ChatMessage, Tool, ToolCall } from './message.js';
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
  /** What the template writes by itself: tools and calls; the tools alone, and calls stand in contents; nothing. */
  writes: 'calls' | 'tools' | 'nothing';
  /** Whether it takes a system message. Asked where it writes nothing: the tools are described there, or before the first question. */
  hasSystem: boolean;
}

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
  const form = toolFormOf(source);
  const attempt = (input: TemplateInput, prompt: boolean) => render(input, prompt).catch(() => undefined);
  const tools = [toolForTemplate(probeTool)];
  const prompt = await attempt({ messages: [user], tools }, true);
  if (form !== plain && prompt?.includes(probeTool.name)) {
    const told = [callMessage('', probeCalls), { role: 'assistant', content: form.write(probeCalls) }];
    const ending = await findEnding(render);
    for (const [i, answer] of told.entries()) {
      const full = await attempt({ messages: [user, answer], tools }, false);
      const read = full === undefined ? [] : form.parse(answerIn(full, prompt, ending)).calls;
      if (sameCalls(read, probeCalls)) return { form, writes: i === 0 ? 'calls' : 'tools', hasSystem: true };
      // It does write calls, in a form that is none of ours; its own words on tools would ask for that one.
      if (full?.includes('c d')) break;
    }
  }
  const system = await attempt({ messages: [{ role: 'system', content: 'probe_text' }, user], tools: null }, true);
  return { form: plain, writes: 'nothing', hasSystem: system?.includes('probe_text') ?? false };
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

function callMessage(content: string, calls: readonly ToolCall[]): Record<string, unknown> {
  const list = calls.map(({ id, name, arguments: given }) => ({
    ...(id !== undefined && { id }),
    type: 'function',
    function: { name, arguments: given },
  }));
  return { role: 'assistant', content, tool_calls: list };
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
    if (use.writes === 'calls') return { ...message, ...callMessage(message.content, calls) };
    return { ...message, content: [message.content, use.form.write(calls)].filter(Boolean).join('\n') };
  });
  if (use.writes !== 'nothing') return { messages: told, tools: tools.length > 0 ? tools.map(toolForTemplate) : null };
  return { messages: described(told as ChatMessage[], tools, use.hasSystem), tools: null };
}

/** Tools and results as texts of the roles that every template knows. */
function described(messages: readonly ChatMessage[], tools: readonly Tool[], hasSystem: boolean) {
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
  if (tools.length === 0) return list;
  const text = describeTools(tools);
  const system = list[0]?.role === 'system' ? list[0] : undefined;
  if (system) system.content = [system.content, text].filter(Boolean).join('\n\n');
  else if (hasSystem) list.unshift({ role: 'system', content: text });
  else {
    const first = list.find(({ role }) => role === 'user');
    if (first) first.content = `${text}\n\n${first.content}`;
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
