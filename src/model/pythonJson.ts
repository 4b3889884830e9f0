import { writtenNumber } from './message.js';

/** JSON as Python's json.dumps writes it with ensure_ascii=False, which is how templates write it. */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const number = writtenNumber(value);
  if (number !== undefined) return number;
  return `{${Object.entries(value)
    .map(([key, entry]) => `${JSON.stringify(key)}: ${pythonJson(entry)}`)
    .join(', ')}}`;
}
