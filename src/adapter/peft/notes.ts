import { i32s, str } from '../../gguf/buildValues.js';
import type { GgufValue } from '../../gguf/values.js';
import { LoamError } from '../../util/errors.js';
import { type JsonValue, parseJson } from '../../util/parseJson.js';
import { type PeftConfig, readPeftConfig } from './PeftConfig.js';

/** In a GGUF made from an adapter of PEFT: the settings that decide what it computes, so that the way back gives the same. */
const settingsKey = 'loam.peft.settings';

/** Without names and paths of the place it was trained at: a GGUF is passed on. */
const kept = [
  'r',
  'lora_alpha',
  'use_rslora',
  'rank_pattern',
  'alpha_pattern',
  'target_modules',
  'exclude_modules',
  'layers_to_transform',
  'layers_pattern',
  'task_type',
];

export function jsonText(value: JsonValue, indent?: number): string {
  return JSON.stringify(value, (_, v) => (v instanceof Map ? Object.fromEntries(v) : v), indent);
}

export function peftSettingsNote({ json }: PeftConfig): [string, GgufValue] {
  const settings = new Map([['peft_type', 'LORA'], ...[...json].filter(([key]) => kept.includes(key))]);
  return [settingsKey, str(jsonText(settings))];
}

/** The settings that an adapter had in PEFT; undefined where it was not made from one, or where something has damaged them. */
export function peftSettingsOf(notes: ReadonlyMap<string, GgufValue>, path: string): PeftConfig | undefined {
  const note = notes.get(settingsKey);
  if (note?.type !== 'string') return undefined;
  try {
    return readPeftConfig(parseJson(note.value, path), path);
  } catch (error) {
    if (error instanceof LoamError) return undefined;
    throw error;
  }
}

/** What an adapter knows of itself, for the metadata of a safetensors file: texts and lists of whole numbers. */
export function encodeNotes(notes: ReadonlyMap<string, GgufValue>): string {
  const pairs: [string, string | number[]][] = [];
  for (const [key, value] of notes) {
    if (key === settingsKey) continue;
    if (value.type === 'string') pairs.push([key, value.value]);
    else if (value.type === 'array' && value.of === 'i32') pairs.push([key, [...value.value]]);
  }
  return JSON.stringify(pairs);
}

/** The way back. What is not as `encodeNotes` writes it is left out: an adapter computes the same without. */
export function decodeNotes(text: string | undefined): Map<string, GgufValue> {
  const notes = new Map<string, GgufValue>();
  let pairs: JsonValue = null;
  try {
    if (text !== undefined) pairs = parseJson(text, 'loam');
  } catch {
    return notes;
  }
  for (const pair of Array.isArray(pairs) ? (pairs as readonly JsonValue[]) : []) {
    const [key, value] = Array.isArray(pair) ? (pair as readonly JsonValue[]) : [];
    if (typeof key !== 'string' || !/^(general|loam)\.[\w.]{1,100}$/.test(key) || key === settingsKey) continue;
    const structural = ['general.type', 'general.architecture', 'general.alignment'].includes(key);
    if (structural) continue;
    if (typeof value === 'string') notes.set(key, str(value));
    const whole =
      Array.isArray(value) &&
      value.length < 1000 &&
      value.every((x) => Number.isInteger(x) && (x as number) === ((x as number) | 0));
    if (whole) notes.set(key, i32s(value as number[]));
  }
  return notes;
}
