import { ANY, exclude, json, oneOf } from '../grammar/rules.js';
import type { ToolCall } from '../message.js';
import { pythonJson } from '../pythonJson.js';
import { callOf, jsonAt, jsonCalls, repeated, skipWhite, type ToolForm } from './form.js';

const TAG = '<|python_tag|>';

/**
 * Llama 3.1 to 3.3: the whole answer is a JSON object with name and parameters, perhaps behind the tag for code (Meta, model cards and
 * prompt formats). Several, which the models write though their template does not, stand one after the other with `;` or space between.
 */
export const llama3: ToolForm = {
  name: 'llama3',
  detects: (template) => template.includes('ipython') && template.includes('"parameters"'),
  begin: '{"name"',
  alsoBegins: [TAG],
  parse(text) {
    const none = { content: text, calls: [] };
    const calls: ToolCall[] = [];
    let at = skipWhite(text, 0);
    if (text.startsWith(TAG, at)) at = skipWhite(text, at + TAG.length);
    while (at < text.length) {
      const json = jsonAt(text, at);
      const call = json && callOf(json.value);
      if (!call) return none;
      calls.push(call);
      at = skipWhite(text, json.end);
      if (text[at] === ';') at = skipWhite(text, at + 1);
    }
    return calls.length === 0 ? none : { content: '', calls };
  },
  write: (calls) =>
    calls
      .map(({ name, arguments: given }) => `{"name": ${JSON.stringify(name)}, "parameters": ${pythonJson(given)}}`)
      .join('; '),
  stream: { heads: [/\{"name": "([\w.-]+)", "parameters": (?=\{)/] },
  grammar: {
    dialect: json,
    calls(rules, tools, several) {
      return repeated(rules, jsonCalls(tools, 'parameters'), '; ', several);
    },
    // An object, or the tag, at its beginning would be a call.
    without(rules) {
      const white = '[ \\t\\r\\n]*';
      const first = exclude(
        ANY,
        [...'{< \t\r\n'].map((char) => char.charCodeAt(0)),
      );
      const rest = rules.add(`${oneOf(ANY)}*`);
      return rules.add(
        `${white} (${oneOf(first)} ${rest} | "<" (${oneOf(exclude(ANY, ['|'.charCodeAt(0)]))} ${rest})?)?`,
      );
    },
  },
};
