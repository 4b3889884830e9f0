import { parse } from 'yaml';
import type { JsonObject, JsonValue } from '../../util/parseJson.js';
import { isObject } from '../json.js';

/** Anchors may stand for each other this often; a model card has none. */
const MAX_ALIASES = 32;

/** Plain data as parsed JSON: objects as maps, what JSON does not have as text. */
function toJson(value: unknown): JsonValue {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [String(key), toJson(item)]));
  return String(value);
}

/**
 * The YAML between the two `---` at the head of a README.md, as the hub's model cards have it (metadata.py, load_model_card).
 * @returns undefined where there is none, or where it is not YAML
 */
export function readModelCard(text: string | undefined): JsonObject | undefined {
  const lines = (text ?? '').split(/\r\n|\r|\n/);
  if (lines[0] !== '---') return undefined;
  const end = lines.indexOf('---', 1);
  const yaml = `${lines.slice(1, end < 0 ? undefined : end).join('\n')}\n`
    // Norway, which YAML 1.1 reads as false; and tabs, which it does not allow.
    .replaceAll('- no\n', '- "no"\n')
    .replaceAll('\t', '  ');
  try {
    const value = toJson(
      parse(yaml, { version: '1.1', mapAsMap: true, maxAliasCount: MAX_ALIASES, logLevel: 'silent' }),
    );
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
