import { UsageError } from '../../../util/errors.js';
import { command } from '../../command.js';
import { openVault, readPassphraseFile } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';
import { readSecret } from '../../readSecret.js';

/** Shorter ones are guessed in hours, scrypt or not. */
const MIN_LENGTH = 8;

export const passphraseVerb = command({
  name: 'passphrase',
  summary: 'sets, changes or (--remove) takes away the passphrase',
  usage: '[--remove]',
  options: {
    newFile: {
      kind: 'text',
      default: undefined,
      value: 'FILE',
      sentence: 'File whose first line is the new passphrase.',
    },
    remove: { kind: 'flag', default: false, sentence: 'Takes the passphrase away: the key then lies in a file.' },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [0, 0],
  more: 'The new one is asked for on the terminal, or read from --new-file or LOAM_NEW_PASSPHRASE. There is no way around a lost one.',
  async run({ options, output }) {
    await using vault = await openVault(options, output);
    const next = options.remove ? undefined : await newPassphrase(options.newFile);
    await vault.changePassphrase(next);
    output.line(
      next === undefined
        ? 'the vault has no passphrase any more: its key lies in a file that only you can read'
        : 'the passphrase is set; without it nobody can read the vault, you neither',
    );
    output.event({ type: 'result', state: next === undefined ? 'open' : 'passphrase' });
  },
});

async function newPassphrase(file: string | undefined): Promise<string> {
  const given = file === undefined ? process.env.LOAM_NEW_PASSPHRASE : await readPassphraseFile(file);
  let next = given;
  if (next === undefined) {
    if (!process.stdin.isTTY || !process.stderr.isTTY) {
      throw new UsageError({ found: 'no terminal to ask on', expected: '--new-file, LOAM_NEW_PASSPHRASE or --remove' });
    }
    next = await readSecret('new passphrase: ');
    if (next !== (await readSecret('the same again: '))) {
      throw new UsageError({ found: 'two different passphrases', expected: 'the same twice' });
    }
  }
  if ([...next].length >= MIN_LENGTH) return next;
  throw new UsageError({
    found: `a passphrase of ${[...next].length} characters`,
    expected: `at least ${MIN_LENGTH}; four or five random words are good`,
  });
}
