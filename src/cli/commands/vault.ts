import { UsageError } from '../../base/errors.js';
import { bytes, count } from '../../base/format.js';
import { flag, text } from '../../base/options.js';
import { loamHome } from '../../base/process.js';
import { withoutServer } from '../../serve/client.js';
import { vaultFolder } from '../../store/files.js';
import { vaultDamaged } from '../../store/types.js';
import { Vault } from '../../store/Vault.js';
import { command, commandGroup, jsonOption, vaultOptions } from '../command.js';
import { confirm, readPassphraseFile, readSecret, requireTerminal } from '../terminal.js';
import { openVault, yesOption } from '../vault.js';

const destroyVerb = command({
  name: 'destroy',
  summary: 'deletes everything in the vault, the keys first; needs no passphrase',
  usage: '[--yes]',
  options: { ...yesOption, ...jsonOption },
  positionals: [0, 0],
  async run({ options, output, signal }) {
    const existed = Vault.state(loamHome()) !== 'absent';
    await withoutServer('it cannot be destroyed', async () => {
      await confirm(
        'every data set, adapter and document in the vault will be gone forever',
        'delete everything',
        options.yes,
        signal,
      );
      await Vault.destroy(loamHome());
    });
    output.line(existed ? 'the vault is gone' : 'there was no vault');
    output.event({ type: 'result', existed });
  },
});

/** Shorter ones are guessed in hours, scrypt or not. */
const MIN_LENGTH = 8;

const passphraseVerb = command({
  name: 'passphrase',
  summary: 'sets or changes the passphrase; --remove removes it',
  usage: '[--remove]',
  options: {
    newFile: text('FILE', 'File whose first line is the new passphrase.'),
    remove: flag('Remove the passphrase: the key is then kept in a file.'),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [0, 0],
  more: 'The new passphrase is asked for on the terminal, or read from --new-file or LOAM_NEW_PASSPHRASE. A lost one cannot be recovered.',
  async run({ options, output }) {
    const next = await withoutServer('its passphrase cannot be changed', async () => {
      await using vault = await openVault(options, output);
      const chosen = options.remove ? undefined : await newPassphrase(options.newFile);
      await vault.changePassphrase(chosen);
      return chosen;
    });
    output.line(
      next === undefined
        ? 'the vault no longer has a passphrase: its key is in a file that only you can read'
        : 'the passphrase is set; without it nobody can read the vault, not even you',
    );
    output.event({ type: 'result', state: next === undefined ? 'open' : 'passphrase' });
  },
});

async function newPassphrase(file: string | undefined): Promise<string> {
  const given = file === undefined ? process.env.LOAM_NEW_PASSPHRASE : await readPassphraseFile(file);
  let next = given;
  if (next === undefined) {
    requireTerminal('--new-file, LOAM_NEW_PASSPHRASE or --remove');
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

const statusVerb = command({
  name: 'status',
  summary: 'shows what is in the vault and whether it is intact',
  usage: '[--check] [--sweep]',
  options: {
    check: flag('Read everything and list what is damaged.'),
    sweep: flag('Remove contents that the index does not name, which nobody can read.'),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [0, 0],
  async run({ options, output }) {
    const where = vaultFolder(loamHome());
    if (Vault.state(loamHome()) === 'absent') {
      output.line('there is no vault yet; loam data add FILE or loam tune DATA --keep NAME makes one');
      output.event({ type: 'result', state: 'absent', path: where });
      return;
    }
    await using vault = await openVault(options, output);
    if (options.sweep)
      output.line(`removed ${count(await vault.removeUnnamed())} contents that the index did not name`);
    const storage = vault.storage();
    const adapters = vault.adapters.list();
    const versions = adapters.reduce((sum, { versions: own }) => sum + own.length, 0);
    output.line(`${where}: ${vault.locked ? 'locked with a passphrase' : 'its key is in a file beside it'}`);
    output.line(`  data sets  ${count(vault.datasets.list().length)}, ${bytes(storage.byKind.datasets)}`);
    output.line(
      `  adapters   ${count(adapters.length)} with ${count(versions)} versions, ${bytes(storage.byKind.adapters)}`,
    );
    output.line(`  documents  ${count(vault.documents.list().length)}, ${bytes(storage.byKind.documents)}`);
    const problems = options.check ? await vault.check() : [...vault.problems];
    for (const problem of problems) output.line(`damaged: ${problem}`);
    if (options.check && problems.length === 0) output.line('everything in it can be read');
    output.event({
      type: 'result',
      state: vault.locked ? 'passphrase' : 'open',
      path: where,
      datasets: vault.datasets.list().length,
      adapters: adapters.length,
      versions,
      documents: vault.documents.list().length,
      storage,
      problems,
    });
    if (options.check && problems.length > 0) {
      throw vaultDamaged({ found: `${count(problems.length)} damaged, named above`, where });
    }
  },
});

export const vaultCommand = commandGroup({
  name: 'vault',
  summary: 'Shows, protects or destroys the encrypted store of your data sets and adapters.',
  verbs: [statusVerb, passphraseVerb, destroyVerb],
  more: 'Without a passphrase the key is in a file that only you can read; docs/vault.md says what that protects against.',
});
