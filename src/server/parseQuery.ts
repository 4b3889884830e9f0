import type { TObject, TSchema } from 'typebox';
import { HttpError } from './HttpError.js';
import { validate } from './validate.js';

/** A query string by its schema: numbers and true/false are read as such. Unknown and repeated names are refused. @throws HttpError 400 */
export function parseQuery(schema: TObject | undefined, search: URLSearchParams): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, text] of search) {
    const declared = schema && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (!declared) throw new HttpError(400, 'the query holds a name that is not known here', 'invalid');
    if (Object.hasOwn(values, name)) throw new HttpError(400, `query.${name} is given twice`, 'invalid');
    values[name] = convert(declared, text);
  }
  if (schema) validate(schema, values, 'query');
  return values;
}

function convert(schema: TSchema, text: string): unknown {
  const { type } = schema as { type?: string };
  if ((type === 'integer' || type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (type === 'boolean' && /^(true|1|false|0)$/.test(text)) return text === 'true' || text === '1';
  return text;
}
