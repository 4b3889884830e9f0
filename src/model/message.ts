/** What a conversation consists of: turns, the calls of tools in them, and the tools that may be called. */

/** A call of a tool within an answer. */
export interface ToolCall {
  /** Pairs it with its result. */
  id?: string;
  name: string;
  arguments: Record<string, unknown>;
}

/** The only key of an object that stands for a number in arguments whose form JavaScript would change (1.50, one of many digits): its text. */
export const NUMBER_KEY = '\u0001number';

/** The text of the number that an object stands for; undefined for any other value. */
export function writtenNumber(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !(NUMBER_KEY in value)) return undefined;
  return String(value[NUMBER_KEY]);
}

/** A tool that answers may call: the `function` object of OpenAI's `tools`. */
export interface Tool {
  name: string;
  description?: string;
  /** A JSON schema of type object. */
  parameters?: Record<string, unknown>;
}

/** One turn, as templates read it. A turn of role `tool` is the result of one call. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string;
  /** Of an answer: the thought before it, without the marks that a template puts around it. */
  reasoning?: string;
  /** Of an answer: the tools that it calls, after its content. */
  calls?: readonly ToolCall[];
  /** Of a result: the tool's name, and the `id` of its call. */
  name?: string;
  callId?: string;
  /** `false` on an answer that is read but not learnt. */
  train?: false;
}
