import { runOptions } from '../../../tune/options.js';
import type { Schema } from '../../../util/options.js';
import { jsonOption } from '../../options.js';

/** Options that several verbs on adapter files have. */
export const fileOptions = {
  model: {
    ...runOptions.model,
    sentence: 'Base model: a name from `loam models list`, a GGUF file, or a Hugging Face folder with its config.json.',
  },
  out: { kind: 'text', default: undefined, value: 'PATH', sentence: 'What to write: FILE.gguf, or a folder for PEFT.' },
  ...jsonOption,
} as const satisfies Schema;

export const rankOption = {
  rank: {
    kind: 'integer',
    min: 1,
    max: 1024,
    default: undefined,
    value: 'N',
    sentence: 'Rank of each module at most (combine: default the largest of the adapters).',
  },
} as const satisfies Schema;
