import { UsageError } from '../../base/errors.js';
import { thoughtFirst } from '../grammar/index.js';
import { literal, Rules } from '../grammar/rules.js';
import { argumentsRule } from '../grammar/schema.js';
import type { Tool } from '../message.js';
import type { ToolForm } from './form.js';

/** Which tools an answer may call. */
export interface ToolChoice {
  /** `auto`: as the model likes; `none`: none; `required`: one at least; or the one of a name. */
  choice: 'auto' | 'none' | 'required' | { name: string };
  /** Whether it may call several at once. */
  several: boolean;
}

/** In all forms a name ends where its arguments begin. */
const NAME = /^[\w.-]{1,128}$/;

/**
 * Answers whose calls are valid under the schemas of the tools, in GBNF.
 * @param afterThought whether the answer comes after a thought that has to be ended first
 * @throws UsageError, UnsupportedError that name what is wrong or not served
 */
export function toolGrammar(
  form: ToolForm,
  tools: readonly Tool[],
  { choice, several }: ToolChoice,
  afterThought = false,
): string {
  const rules = new Rules(form.grammar.dialect);
  const { style } = form.grammar;
  const wanted = typeof choice === 'object' ? tools.filter(({ name }) => name === choice.name) : tools;
  if (wanted.length === 0) throw new UsageError({ found: 'no tool of this name', where: 'tool_choice' });
  const callable = wanted.map(({ name, parameters }, i) => {
    const where = `tools[${tools.indexOf(wanted[i]!)}]`;
    if (!NAME.test(name)) {
      const expected = 'letters, digits, "_", "-" and ".", at most 128';
      throw new UsageError({ found: 'a name of other characters', expected, where });
    }
    return { name, given: argumentsRule(rules, parameters ?? {}, { where: `${where}.parameters`, style }) };
  });
  const calls = form.grammar.calls(rules, callable, several);
  const root = choice === 'auto' ? freely(rules, form, calls) : calls;
  return rules.text(afterThought ? thoughtFirst(rules, root) : root);
}

/** With calls or without. */
function freely(rules: Rules, form: ToolForm, calls: string): string {
  if (!form.grammar.without) return `${rules.without(form.begin)} (${calls})?`;
  const tags = (form.alsoBegins ?? []).map(literal).join(' | ');
  return `${form.grammar.without(rules)} | ${tags === '' ? '' : `(${tags})?`} ${calls}`;
}
