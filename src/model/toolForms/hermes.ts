import { json, literal } from '../grammar/rules.js';
import { jsonCalls, jsonStream, parseMarked, repeated, type ToolForm, writeJsonCalls } from './form.js';

const [BEGIN, END] = ['<tool_call>', '</tool_call>'];

/**
 * Hermes 2 and 3, Qwen 2.5 and 3, SmolLM3, Granite 4: a JSON object with name and arguments between the marks, one block per call (Nous
 * Research, Hermes-Function-Calling). A list of objects in one block is read too (SmolLM2).
 */
export const hermes: ToolForm = {
  name: 'hermes',
  // Others write XML or keys and values between the same marks.
  detects: (template) =>
    template.includes(BEGIN) && !template.includes('<function=') && !template.includes('<arg_key>'),
  begin: BEGIN,
  parse: (text) => parseMarked(text, BEGIN, END),
  write: (calls) =>
    writeJsonCalls(calls)
      .map((call) => `${BEGIN}\n${call}\n${END}`)
      .join('\n'),
  stream: jsonStream,
  grammar: {
    dialect: json,
    calls(rules, tools, several) {
      const one = `${literal(`${BEGIN}\n`)} ${rules.add(jsonCalls(tools))} ${literal(`\n${END}`)}`;
      return repeated(rules, one, '\n', several);
    },
  },
};
