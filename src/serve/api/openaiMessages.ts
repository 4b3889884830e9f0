import { UsageError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';
import type { ChatMessage, ToolCall } from '../../model/message.js';
import type { ChatInput } from './openaiInput.js';

/** Messages in OpenAI's form as a conversation. */

type Message = ChatInput['messages'][number];
type Turn = ChatMessage & { calls?: ToolCall[] };

/**
 * The conversation as a template takes it: messages in a row of one role are joined, as they are when data are read, and system messages
 * stand first. A last message of the assistant is the beginning of the answer.
 * @throws UsageError that names the message that cannot be used
 */
export function conversationOf({ messages }: ChatInput): ChatMessage[] {
  const turns: Turn[] = [];
  const system: string[] = [];
  /** Calls without a result yet, by their ids. */
  const open = new Map<string, ToolCall>();
  for (const [i, message] of messages.entries()) {
    const where = `messages[${i}]`;
    const content = textOf(message, where);
    if (message.role === 'system' || message.role === 'developer') {
      system.push(content);
      continue;
    }
    if (message.role === 'function' || (message.function_call !== undefined && message.function_call !== null)) {
      throw new UsageError({ found: '"function_call" is not served', where, fix: 'use tools' });
    }
    if (message.role === 'tool') {
      turns.push(resultOf(message, { content, open, where }));
      continue;
    }
    const { role } = message;
    const calls = role === 'assistant' ? callsOf(message, where) : [];
    for (const call of calls) if (call.id !== undefined) open.set(call.id, call);
    const last = turns.at(-1);
    if (last?.role === role) join(last, content, calls);
    else turns.push({ role, content, ...(calls.length > 0 && { calls }) });
    if (message.reasoning_content && role === 'assistant') {
      const turn = turns.at(-1)!;
      turn.reasoning = [turn.reasoning, message.reasoning_content].filter(Boolean).join('\n');
    }
  }
  const last = turns.at(-1);
  if (last?.role === 'assistant') {
    if (last.calls) throw new UsageError({ found: 'calls of tools without their results', where: 'messages' });
    // One that says nothing has not begun.
    if (last.content === '' && !last.reasoning) turns.pop();
  }
  if (!turns.some(({ role }) => role === 'user' || role === 'tool')) {
    throw new UsageError({ found: 'there is no message of the user', where: 'messages' });
  }
  return system.length === 0 ? turns : [{ role: 'system', content: system.join('\n') }, ...turns];
}

function join(turn: Turn, content: string, calls: ToolCall[]): void {
  turn.content = [turn.content, content].filter((text) => text !== '').join('\n');
  if (calls.length > 0) turn.calls = [...(turn.calls ?? []), ...calls];
}

function resultOf(
  { tool_call_id: id, name }: Message,
  { content, open, where }: { content: string; open: Map<string, ToolCall>; where: string },
): Turn {
  const call = typeof id === 'string' ? open.get(id) : undefined;
  if (!call) {
    const found = 'the result of a call that is in no message before it';
    throw new UsageError({ found, where, fix: 'set "tool_call_id" to the id of the call' });
  }
  open.delete(id!);
  return { role: 'tool', content, name: name ?? call.name, callId: id! };
}

function callsOf({ tool_calls: calls }: Message, where: string): ToolCall[] {
  return (calls ?? []).map(({ id, type, function: given }, i) => {
    const place = `${where}.tool_calls[${i}]`;
    if ((type ?? 'function') !== 'function' || !given) {
      throw new UsageError({
        found: `a call of type "${type}" that is not served`,
        where: place,
        fix: 'use functions',
      });
    }
    const text = given.arguments?.trim() ? given.arguments : '{}';
    return { ...(id && { id }), name: given.name, arguments: argumentsOf(text, `${place}.function.arguments`) };
  });
}

function argumentsOf(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {}
  if (!isRecord(value)) throw new UsageError({ found: 'what is no JSON object', where });
  requireShallow(value, where);
  return value;
}

function textOf({ content }: Message, where: string): string {
  if (content === undefined || content === null) return '';
  if (typeof content === 'string') return content;
  const texts = content.map((part) => {
    if (part.type === 'text' && part.text !== undefined) return part.text;
    if (part.type === 'refusal' && part.refusal !== undefined) return part.refusal;
    const found = `a part of type "${part.type.slice(0, 30)}"`;
    throw new UsageError({ found, where, fix: 'send texts only' });
  });
  return texts.join('');
}

/** Deeper than a schema may be: what passes goes to other processes, and not every writer of JSON bears every depth. */
const MAX_DEPTH = 256;

/** @throws UsageError for a value that is nested too deeply */
export function requireShallow(value: unknown, where: string): void {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) {
      const expected = `at most ${MAX_DEPTH} levels`;
      throw new UsageError({ code: 'too-large', found: 'lists and objects within each other', expected, where });
    }
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []));
  }
}
