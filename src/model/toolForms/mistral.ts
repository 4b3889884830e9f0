import { isRecord } from '../../base/json.js';
import { json, literal } from '../grammar/rules.js';
import type { ToolCall } from '../message.js';
import { pythonJson } from '../pythonJson.js';
import { callsOf, jsonAt, jsonCalls, jsonStream, parseBlocks, repeated, skipWhite, type ToolForm } from './form.js';

const BEGIN = '[TOOL_CALLS]';

/**
 * Mistral: behind the mark a JSON list of objects with name, arguments and id (tokenisers v3 and v7); or one name with its arguments,
 * and the mark again for the next call (v11 and later; mistral-common).
 */
export const mistral: ToolForm = {
  name: 'mistral',
  detects: (template) => template.includes(BEGIN),
  begin: BEGIN,
  parse: (text) =>
    parseBlocks(text, BEGIN, (at) => {
      const start = skipWhite(text, at);
      const list = jsonAt(text, start);
      if (list) {
        const calls = callsOf(list.value);
        return calls && { calls, end: list.end };
      }
      return named(text, start);
    }),
  write: (calls) =>
    `${BEGIN} ${pythonJson(calls.map(({ id, name, arguments: given }) => ({ name, arguments: given, ...(id !== undefined && { id }) })))}`,
  stream: {
    heads: [...jsonStream.heads, /\[TOOL_CALLS\]([\w.-]+)(?:\[CALL_ID\]([A-Za-z0-9]{9}))?(?:\[ARGS\])?(?=\{)/],
  },
  grammar: {
    dialect: json,
    calls(rules, tools, several) {
      const list = `"[" ${repeated(rules, jsonCalls(tools), ', ', several)} "]"`;
      // Which of the two it is the model knows.
      const named = tools.map(({ name, given }) => `${literal(name)} ("[CALL_ID]" [A-Za-z0-9]{9})? "[ARGS]"? ${given}`);
      return rules.add(`${literal(BEGIN)} (" "? ${list} | ${repeated(rules, named.join(' | '), BEGIN, several)})`);
    },
  },
};

/** A name with its arguments. */
function named(text: string, start: number): { calls: ToolCall[]; end: number } | undefined {
  const head = /^([^\s[\]{}]+)(?:\[CALL_ID\]([^\s[\]{}]+))?(?:\[ARGS\])?\s*(?=\{)/.exec(
    text.slice(start, start + 1000),
  );
  const given = head && jsonAt(text, start + head[0].length);
  if (!given || !isRecord(given.value)) return undefined;
  const [, name, id] = head;
  return { calls: [{ ...(id !== undefined && { id }), name: name!, arguments: given.value }], end: given.end };
}
