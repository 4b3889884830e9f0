import type { Check } from 'typebox/schema';
import { isRecord } from '../../base/json.js';
import { SchemaDocument } from '../grammar/document.js';
import type { Tool } from '../message.js';

/** There once a template has a form that asks for it: it is hundreds of files, which no command that has another one is to wait for. */
let check: typeof Check;

export async function prepareSchemas(): Promise<void> {
  check = (await import('typebox/schema')).Check;
}

/** Reads what is no text; undefined if it is one. */
export type ReadValue = (text: string) => { value: unknown } | undefined;

/** A value written as JSON. */
export const jsonOf: ReadValue = (text) => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'number' && !Number.isFinite(value) ? undefined : { value };
  } catch {
    return undefined;
  }
};

/** How values stand between marks. */
export interface ValueForm {
  /** Behind a value. */
  end: string;
  read: ReadValue;
}

/** What a text stands for where no schema says it. */
function bareValue(text: string, form: ValueForm): unknown {
  const found = form.read(text);
  if (!found) return text;
  // Only texts that could not be read otherwise are put between quotation marks.
  return typeof found.value !== 'string' || needsQuotes(found.value, form) ? found.value : text;
}

/** Whether a text would be read as something else. */
export const needsQuotes = (text: string, form: ValueForm): boolean =>
  text.includes(form.end.trim()) || bareValue(text, form) !== text;

/**
 * What a text stands for, by the schema of its argument if there is one: a text that looks like a number is one only if the schema allows it.
 * @param parameters schema of all arguments
 */
export function argumentValue(text: string, key: string, form: ValueForm, parameters: Tool['parameters']): unknown {
  const found = form.read(text);
  if (!found) return text;
  try {
    const own = parameters && schemaOf(parameters, key);
    if (!own) return bareValue(text, form);
    const { value } = found;
    if (typeof value === 'string' || own.type === 'string') return text;
    return check(own, value) || !check(own, text) ? value : text;
  } catch {
    return bareValue(text, form);
  }
}

/** The schema of an argument, with the definitions that it may refer to. @throws LoamError for a schema that is none */
function schemaOf(parameters: Record<string, unknown>, key: string): Record<string, unknown> | undefined {
  const document = new SchemaDocument(parameters);
  const { properties, additionalProperties } = document.flat(parameters, 'tools');
  const own = isRecord(properties) && Object.hasOwn(properties, key) ? properties[key] : additionalProperties;
  if (!isRecord(own)) return undefined;
  const { $defs, definitions } = parameters;
  return withoutPatterns({
    ...document.flat(own, 'tools'),
    ...(isRecord($defs) && { $defs }),
    ...(isRecord(definitions) && { definitions }),
  });
}

/** Patterns of a stranger are not run, and tell no text from another value. */
function withoutPatterns(schema: Record<string, unknown>): Record<string, unknown> {
  const isPattern = (key: string, value: unknown) =>
    key === 'patternProperties' || (key === 'pattern' && typeof value === 'string');
  const text = JSON.stringify(schema, (key, value: unknown) => (isPattern(key, value) ? undefined : value));
  return JSON.parse(text) as Record<string, unknown>;
}
