import { isRecord } from '../../base/json.js';
import { json, literal, type Rules } from '../grammar/rules.js';
import type { ToolCall } from '../message.js';
import { pythonJson } from '../pythonJson.js';
import { jsonAt, repeated, skipWhite, type ToolForm } from './form.js';

const [CHANNEL, MESSAGE, CALL, START] = ['<|channel|>', '<|message|>', '<|call|>', '<|start|>assistant'];
const TO = 'to=functions.';
const [THOUGHT, THOUGHT_END] = [`${CHANNEL}analysis${MESSAGE}`, '<|end|>'];

/**
 * gpt-oss: an answer consists of messages in channels, thoughts in `analysis`, what is said in `final`, and calls as messages to a function
 * in `commentary` (OpenAI, Harmony response format). The function stands before or behind the channel.
 */
export const harmony: ToolForm = {
  name: 'harmony',
  detects: (template) => template.includes(CHANNEL) && template.includes(MESSAGE),
  begin: CHANNEL,
  alsoBegins: [` ${TO}`],
  parse(text) {
    const calls: ToolCall[] = [];
    const said: string[] = [];
    const thought: string[] = [];
    let at = 0;
    while (at < text.length) {
      const head = messageHead(text, at);
      if (!head) break;
      said.push(text.slice(at, head.start));
      const { to, channel, body } = head;
      if (to === undefined) {
        const end = /<\|(?:end|return|call)\|>|$/.exec(text.slice(body))!;
        (channel === 'analysis' ? thought : said).push(text.slice(body, body + end.index));
        at = body + end.index + end[0].length;
        continue;
      }
      const given = jsonAt(text, skipWhite(text, body));
      if (!given || !isRecord(given.value)) return { content: text, calls: [] };
      calls.push({ name: to, arguments: given.value });
      at = skipWhite(text, given.end);
      const mark = [CALL, '<|end|>'].find((one) => text.startsWith(one, at));
      at += mark?.length ?? 0;
    }
    if (at === 0) return { content: text, calls };
    const content = [...said, text.slice(at)].join('');
    return {
      content: calls.length > 0 ? content.trim() : content,
      calls,
      ...(thought.length > 0 && { thought: thought.join('\n') }),
    };
  },
  write: (calls) =>
    calls
      .map(
        ({ name, arguments: given }) =>
          `${CHANNEL}commentary ${TO}${name} <|constrain|>json${MESSAGE}${pythonJson(given)}`,
      )
      .join(CALL + START),
  stream: { heads: [/to=functions\.([\w.-]+)(?: <\|constrain\|>json)?<\|message\|>(?=\{)/] },
  grammar: {
    dialect: json,
    calls(rules, tools, several) {
      const each = tools.map(
        ({ name, given }) => `${literal(`${CHANNEL}commentary ${TO}${name} <|constrain|>json${MESSAGE}`)} ${given}`,
      );
      return `${thinking(rules)} ${repeated(rules, each.join(' | '), CALL + START, several)}`;
    },
    without: (rules) => `${thinking(rules)} ${final(rules)} | ${rules.without(CHANNEL)}`,
  },
};

const thinking = (rules: Rules) => `(${literal(THOUGHT)} ${rules.without('<|')} ${literal(THOUGHT_END + START)})?`;
const final = (rules: Rules) => `${literal(`${CHANNEL}final${MESSAGE}`)} ${rules.without('<|')}`;

/** The head of the next message: what stands before its text. */
function messageHead(text: string, from: number) {
  const found =
    /(?:<\|start\|>assistant)?(?: to=functions\.([\p{L}\p{N}_.-]+) ?)?<\|channel\|>(analysis|commentary|final)(?: to=functions\.([\p{L}\p{N}_.-]+))?(?: ?(?:<\|constrain\|>)?\w+)?<\|message\|>/u.exec(
      text.slice(from),
    );
  if (!found) return undefined;
  const [all, before, channel, behind] = found;
  return { start: from + found.index, to: before ?? behind, channel, body: from + found.index + all.length };
}
