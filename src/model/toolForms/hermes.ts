import { json, literal } from '../grammar/rules.js';
import { pythonJson } from '../pythonJson.js';
import { callsOf, jsonAt, parseBlocks, repeated, skipWhite, type ToolForm } from './form.js';

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
  parse: (text) =>
    parseBlocks(text, BEGIN, (at) => {
      const json = jsonAt(text, skipWhite(text, at));
      const calls = json && callsOf(json.value);
      if (!calls) return undefined;
      const end = skipWhite(text, json.end);
      if (text.startsWith(END, end)) return { calls, end: end + END.length };
      // The turn ended without the closing mark.
      return end === text.length ? { calls, end } : undefined;
    }),
  write: (calls) =>
    calls.map(({ name, arguments: given }) => `${BEGIN}\n${pythonJson({ name, arguments: given })}\n${END}`).join('\n'),
  grammar: {
    dialect: json,
    calls(rules, tools, several) {
      const each = tools.map(
        ({ name, given }) => `${literal(`{"name": ${JSON.stringify(name)}, "arguments": `)} ${given}`,
      );
      const one = `${literal(`${BEGIN}\n`)} ${rules.add(each.join(' | '))} ${literal(`}\n${END}`)}`;
      return repeated(rules, one, '\n', several);
    },
  },
};
