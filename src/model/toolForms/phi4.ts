import { json, literal } from '../grammar/rules.js';
import {
  callsOf,
  jsonAt,
  jsonCalls,
  jsonStream,
  parseBlocks,
  parseMarked,
  repeated,
  type ToolForm,
  writeJsonCalls,
} from './form.js';

const [BEGIN, END] = ['<|tool_call|>', '<|/tool_call|>'];
/** How other programs ask for calls (vLLM's template for this model): a list behind the word, with no mark at its end. */
const WORD = 'functools';

/**
 * Phi-4-mini: between the marks a JSON list of objects with name and arguments (Microsoft, Phi-4-mini-instruct model card); llama.cpp's
 * template has one object in each pair of marks.
 */
export const phi4: ToolForm = {
  name: 'phi4',
  detects: (template) => template.includes('<|/tool|>') || template.includes(END) || template.includes(`${WORD}[`),
  begin: BEGIN,
  alsoBegins: [`${WORD}[`],
  parse(text) {
    const marked = parseMarked(text, BEGIN, END);
    if (marked.calls.length > 0) return marked;
    return parseBlocks(text, WORD, (at) => {
      const list = text[at] === '[' ? jsonAt(text, at) : undefined;
      const calls = list && callsOf(list.value);
      return calls && { calls, end: list.end };
    });
  },
  write: (calls) => `${BEGIN}[${writeJsonCalls(calls).join(', ')}]${END}`,
  stream: jsonStream,
  grammar: {
    dialect: json,
    calls: (rules, tools, several) =>
      rules.add(`${literal(`${BEGIN}[`)} ${repeated(rules, jsonCalls(tools), ', ', several)} ${literal(`]${END}`)}`),
  },
};
