import { ernie4_5 } from './ernie4_5.js';
import { exaone4 } from './exaone4.js';
import type { Family } from './family.js';
import { gemma3 } from './gemma3.js';
import { gemma4 } from './gemma4.js';
import { granite, graniteHybrid } from './granite.js';
import { lfm2 } from './lfm2.js';
import { llama } from './llama.js';
import { mistral3 } from './mistral3.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';
import { qwen35 } from './qwen35.js';
import { smollm3 } from './smollm3.js';

/** The families that Loam can run: the one list of them. */
const list = { llama, qwen2, qwen3, gemma3, phi3, granite, smollm3, mistral3, ernie4_5, exaone4, lfm2, qwen35, gemma4 };

export type FamilyName = keyof typeof list;

/** By `general.architecture`. */
export const families: ReadonlyMap<string, Family> = new Map(
  Object.values(list).map((family) => [family.name, family]),
);

/** The layouts of their Hugging Face folders: a family may have two. */
export const layouts: readonly Family[] = [...Object.values(list), graniteHybrid];
