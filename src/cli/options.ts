import type { Schema } from '../util/options.js';

/** On every command that programs may call. */
export const jsonOption = {
  json: {
    kind: 'flag',
    default: false,
    sentence: 'Prints one JSON object a line on stdout; the last one is the result.',
  },
} as const satisfies Schema;

/** On every command that opens the vault. */
export const vaultOptions = {
  passphraseFile: {
    kind: 'text',
    default: undefined,
    value: 'FILE',
    sentence: "File whose first line is the vault's passphrase (else LOAM_PASSPHRASE, else the terminal asks).",
    advanced: true,
  },
} as const satisfies Schema;
