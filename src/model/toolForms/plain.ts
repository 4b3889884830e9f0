import type { Tool } from '../message.js';
import { pythonJson } from '../pythonJson.js';
import type { ToolForm } from './form.js';
import { hermes } from './hermes.js';

/** For templates that know no tools, or call them in a form that none of the others is: the tools stand in the system message, and calls are those of Hermes. */
export const plain: ToolForm = { ...hermes, name: 'plain', detects: () => true };

/** What the system message says of the tools. */
export function describeTools(tools: readonly Tool[]): string {
  const listed = tools.map((tool) => pythonJson({ type: 'function', function: tool })).join('\n');
  return [
    'You can call functions. These are the functions that you may call:',
    `<tools>\n${listed}\n</tools>`,
    'To call one, write a JSON object with its name and its arguments between these marks, one object for each call:',
    '<tool_call>\n{"name": "NAME", "arguments": {"ARGUMENT": "VALUE"}}\n</tool_call>',
  ].join('\n');
}

/** Results of calls, as the text of a user's message. */
export function describeResult(content: string): string {
  return `<tool_response>\n${content}\n</tool_response>`;
}
