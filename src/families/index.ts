import type { Family } from './family.js';
import { gemma3 } from './gemma3.js';
import { llama } from './llama.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

/** The families that Loam can run: the one list of them. */
const list = { llama, qwen2, qwen3, gemma3 };

export type FamilyName = keyof typeof list;

/** By `general.architecture`. */
export const families: ReadonlyMap<string, Family> = new Map(
  Object.values(list).map((family) => [family.name, family]),
);
