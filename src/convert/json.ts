/** Looks into parsed JSON (objects are maps), forgiving where a value has another kind: then it is absent. */
import type { JsonObject, JsonValue } from '../util/parseJson.js';

export const isObject = (value: JsonValue | undefined): value is JsonObject => value instanceof Map;

export const isList = (value: JsonValue | undefined): value is readonly JsonValue[] => Array.isArray(value);

/** The value at a path of keys. */
export function at(value: JsonValue | undefined, ...keys: readonly string[]): JsonValue | undefined {
  let here = value;
  for (const key of keys) here = isObject(here) ? here.get(key) : undefined;
  return here;
}

export function textAt(value: JsonValue | undefined, ...keys: readonly string[]): string | undefined {
  const found = at(value, ...keys);
  return typeof found === 'string' ? found : undefined;
}

export function listAt(value: JsonValue | undefined, ...keys: readonly string[]): readonly JsonValue[] {
  const found = at(value, ...keys);
  return isList(found) ? found : [];
}

export function flagAt(value: JsonValue | undefined, ...keys: readonly string[]): boolean | undefined {
  const found = at(value, ...keys);
  return typeof found === 'boolean' ? found : undefined;
}

/** A whole number from 0 up. */
export function idAt(value: JsonValue | undefined, ...keys: readonly string[]): number | undefined {
  const found = at(value, ...keys);
  return typeof found === 'number' && Number.isSafeInteger(found) && found >= 0 ? found : undefined;
}
