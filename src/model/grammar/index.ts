import { json, Rules } from './rules.js';
import { schemaRule } from './schema.js';

/** Grammars of answers. */

export { anyOf } from './rules.js';

/** Any JSON object. @param afterThought whether it comes after a thought that has to be ended first */
export function objectGrammar(afterThought = false): string {
  const rules = new Rules(json);
  return rules.text(afterThought ? thoughtFirst(rules, 'object') : 'object');
}

/** The values of a JSON schema, as JSON. @param where its place, for messages @throws UsageError, UnsupportedError */
export function schemaGrammar(
  schema: unknown,
  { where = 'schema', afterThought = false }: { where?: string; afterThought?: boolean } = {},
): string {
  const rules = new Rules(json);
  const rule = schemaRule(rules, schema, where);
  return rules.text(afterThought ? thoughtFirst(rules, rule) : rule);
}

/** A thought up to its end, then the answer. */
export function thoughtFirst(rules: Rules, root: string): string {
  return `"<think>"? ${rules.without('</think>')} "</think>" [\\n]{0,2} ${rules.add(root)}`;
}
