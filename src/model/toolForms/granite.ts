import { json, literal } from '../grammar/rules.js';
import { jsonCalls, jsonStream, parseMarked, repeated, type ToolForm, writeJsonCalls } from './form.js';

const BEGIN = '<|tool_call|>';

/** Granite 3: the mark, then a JSON list of objects with name and arguments (IBM, Granite 3 prompt engineering guide). */
export const granite: ToolForm = {
  name: 'granite',
  detects: (template) => template.includes(BEGIN) && template.includes('<|start_of_role|>'),
  begin: BEGIN,
  parse: (text) => parseMarked(text, BEGIN, ''),
  write: (calls) => `${BEGIN}[${writeJsonCalls(calls).join(', ')}]`,
  stream: jsonStream,
  grammar: {
    dialect: json,
    calls: (rules, tools, several) =>
      rules.add(`${literal(`${BEGIN}[`)} ${repeated(rules, jsonCalls(tools), ', ', several)} "]"`),
  },
};
