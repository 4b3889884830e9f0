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
      const { additionalProperties, requiredProperties } = params as Record<string, unknown>;
      const which = (additionalProperties ?? requiredProperties) as string[] | undefined;
      return `${place} ${message}${Array.isArray(which) ? `: ${which.map((name) => String(name).slice(0, 40)).join(', ')}` : ''}`;
    });
  throw new HttpError(400, faults.join('; '), 'invalid');
}
