import type { Tool } from '../message.js';
import { pythonJson } from '../pythonJson.js';
import type { ToolForm } from './form.js';
import { hermes } from './hermes.js';

/** For templates that know no tools, or call them in a form that none of the others is: the tools stand in the system message, and calls are those of Hermes. */
export const plain: ToolForm = { ...hermes, name: 'plain', detects: () => true };

/** What the system message says of the tools. @param form how they are called */
export function describeTools(tools: readonly Tool[], form: ToolForm): string {
  const example = form.write([{ name: 'NAME', arguments: { ARGUMENT: 'VALUE' } }]);
  const how =
    form === plain
      ? 'To call one, write a JSON object with its name and its arguments between these marks, one object for each call:'
      : 'To call one, write:';
  const listed = tools.map((tool) => pythonJson({ type: 'function', function: tool })).join('\n');
  return [
    'You can call functions. These are the functions that you may call:',
    `<tools>\n${listed}\n</tools>`,
    how,
    example,
  ].join('\n');
}

/** Results of calls, as the text of a user's message. */
export function describeResult(content: string): string {
  return `<tool_response>\n${content}\n</tool_response>`;
}
