import { pythonJson } from '../pythonJson.js';
import { pythonLiteral } from './lfm2.js';
import { taggedForm } from './tagged.js';
import { jsonOf, type ReadValue } from './textValue.js';

const CONSTANTS = new Map<unknown, string>([
  [true, 'True'],
  [false, 'False'],
  [null, 'None'],
]);

/** Templates write lists and objects as JSON or, the first of them, lists as Python does; constants as Python does. */
const read: ReadValue = (text) => {
  const found = jsonOf(text);
  if (found || !/^\s*(?:[[{]|(?:True|False|None)\s*$)/.test(text)) return found;
  const value = pythonLiteral(text);
  return value === undefined ? undefined : { value };
};

/**
 * Qwen3-Coder, Qwen3.5, Nemotron 3 Nano: a function with its parameters between marks, each value on lines of its own (Qwen, chat templates of Qwen3-Coder
 * and Qwen3.5). One line break before and one behind a value are none of its own, as vLLM's `qwen3_coder` reads it.
 */
export const qwen3Coder = taggedForm({
  name: 'qwen3Coder',
  call: {
    before: '<tool_call>\n<function=',
    after: '>\n',
    read: /<tool_call>\s*<function=\s*([^\s<>]+)\s*>\s*(?=<)/,
  },
  argument: { before: '<parameter=', after: '>\n', read: /\s*<parameter=([^>\n]{1,1000})>\n?/y },
  value: {
    end: '\n</parameter>\n',
    write: (value) => CONSTANTS.get(value) ?? pythonJson(value),
    read,
    constants: { boolean: '"True" | "False" | "true" | "false"', null: '"None" | "null"' },
  },
  end: { text: '</function>\n</tool_call>', read: /\s*<\/function>(?:\s*<\/tool_call>)?/y },
});
