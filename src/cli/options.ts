import type { Schema } from '../util/options.js';

/** On every command that programs may call. */
export const jsonOption = {
  json: {
    kind: 'flag',
    default: false,
    sentence: 'Prints one JSON object a line on stdout; the last one is the result.',
  },
} as const satisfies Schema;
