import { commandGroup } from '../command.js';
import { destroyVerb } from './vault/destroy.js';
import { passphraseVerb } from './vault/passphrase.js';
import { statusVerb } from './vault/status.js';

export const vaultCommand = commandGroup({
  name: 'vault',
  summary: 'The encrypted store of your data sets and adapters: what is in it, its passphrase, its end.',
  verbs: [statusVerb, passphraseVerb, destroyVerb],
  more: 'Without a passphrase the key lies in a file that only you can read: see docs/vault.md for what that protects.',
});
