import { isRecord } from '../../base/json.js';
import { json, literal } from '../grammar/rules.js';
import type { ToolCall } from '../message.js';
import { pythonJson } from '../pythonJson.js';
import { jsonAt, parseBlocks, repeated, skipWhite, type ToolForm } from './form.js';

const [ALL, ALL_END] = ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>'];
const [ONE, BETWEEN, ONE_END] = ['<｜tool▁call▁begin｜>', '<｜tool▁sep｜>', '<｜tool▁call▁end｜>'];
const [FENCE, FENCE_END] = ['\n```json\n', '\n```'];

/**
 * DeepSeek: within marks around them all, each call between marks of its own. In V3 and R1 with their distills it is its type, a mark, its
 * name and the arguments as a block of JSON; from V3.1 on its name, the mark and the arguments (DeepSeek, model cards and templates).
 */
const deepSeekForm = (isFenced: boolean): Pick<ToolForm, 'begin' | 'parse' | 'write' | 'grammar' | 'stream'> => {
  const open = (name: string) => (isFenced ? `function${BETWEEN}${name}${FENCE}` : `${name}${BETWEEN}`);
  const close = isFenced ? FENCE_END : '';
  const between = isFenced ? '\n' : '';
  return {
    begin: ALL,
    parse: (text) =>
      parseBlocks(text, ALL, (start) => {
        const calls: ToolCall[] = [];
        let at = skipWhite(text, start);
        while (text.startsWith(ONE, at)) {
          const call = readCall(text, at + ONE.length);
          if (!call) return undefined;
          calls.push(call.call);
          at = skipWhite(text, call.end);
        }
        if (calls.length === 0) return undefined;
        if (text.startsWith(ALL_END, at)) return { calls, end: at + ALL_END.length };
        return at === text.length ? { calls, end: at } : undefined;
      }),
    write: (calls) =>
      `${ALL}${calls
        .map(({ name, arguments: given }) => `${ONE}${open(name)}${pythonJson(given)}${close}${ONE_END}`)
        .join(between)}${ALL_END}`,
    stream: {
      heads: [
        isFenced ? /<｜tool▁sep｜>([\w.-]+)\n```json\n(?=\{)/ : /<｜tool▁call▁begin｜>([\w.-]+)<｜tool▁sep｜>(?=\{)/,
      ],
    },
    grammar: {
      dialect: json,
      calls(rules, tools, several) {
        const each = tools.map(({ name, given }) => `${literal(open(name))} ${given}`);
        const one = `${literal(ONE)} (${each.join(' | ')}) ${literal(close + ONE_END)}`;
        return rules.add(`${literal(ALL)} ${repeated(rules, one, between, several)} ${literal(ALL_END)}`);
      },
    },
  };
};

/** A call of either kind. */
function readCall(text: string, at: number): { call: ToolCall; end: number } | undefined {
  const between = text.indexOf(BETWEEN, at);
  if (between < 0) return undefined;
  const first = text.slice(at, between).trim();
  let start = between + BETWEEN.length;
  let name = first;
  const fenced = /^([^\n`]+)\n```json\s*/.exec(text.slice(start, start + 1000));
  if (fenced) {
    name = fenced[1]!.trim();
    start += fenced[0].length;
  }
  const given = jsonAt(text, skipWhite(text, start));
  if (!given || !isRecord(given.value) || name === '') return undefined;
  let end = skipWhite(text, given.end);
  if (fenced && text.startsWith('```', end)) end = skipWhite(text, end + 3);
  if (text.startsWith(ONE_END, end)) end += ONE_END.length;
  else if (end !== text.length) return undefined;
  return { call: { name, arguments: given.value }, end };
}

const isFenced = (template: string) => template.includes('```json');

export const deepSeek: ToolForm = {
  name: 'deepSeek',
  detects: (template) => template.includes(ONE) && isFenced(template),
  ...deepSeekForm(true),
};

export const deepSeek31: ToolForm = {
  name: 'deepSeek31',
  detects: (template) => template.includes(ONE) && !isFenced(template),
  ...deepSeekForm(false),
};
