import { json, Rules } from './rules.js';
import { schemaRule } from './schema.js';

/** Grammars of answers. */

/** Any JSON object. */
export function objectGrammar(): string {
  return new Rules(json).text('object');
}

/** The values of a JSON schema, as JSON. @param where its place, for messages @throws UsageError, UnsupportedError */
export function schemaGrammar(schema: unknown, where = 'schema'): string {
  const rules = new Rules(json);
  return rules.text(schemaRule(rules, schema, where));
}
