import type { Static, TSchema } from 'typebox';
import Value from 'typebox/value';
import { HttpError } from './HttpError.js';

/** Faults named in a message; the first says enough. */
const named = 3;

/**
 * Holds a value against its schema. The message names fields and what they should be, and quotes nothing of what came.
 * @throws HttpError 400
 */
export function validate<S extends TSchema>(schema: S, value: unknown, what: string): asserts value is Static<S> {
  if (Value.Check(schema, value)) return;
  const faults = Value.Errors(schema, value)
    .filter(({ keyword }) => keyword !== 'boolean')
    .slice(0, named)
    .map(({ instancePath, message, params }) => {
      const place = [what, ...instancePath.split('/').slice(1)].join('.');
      const { additionalProperties: unknown } = params as { additionalProperties?: unknown };
      const which = Array.isArray(unknown) ? `: ${unknown.map((name) => String(name).slice(0, 40)).join(', ')}` : '';
      return `${place} ${message}${which}`;
    });
  throw new HttpError(400, faults.join('; '), 'invalid');
}
