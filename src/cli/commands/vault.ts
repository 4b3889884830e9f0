import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { LoamError, UsageError } from '../../base/errors.js';
import { bytes, count } from '../../base/format.js';
import { openRegularFile, requireWritable, writeAll, writeFileAtomic } from '../../base/io.js';
import { flag, text } from '../../base/options.js';
import { loamHome } from '../../base/process.js';
import { withoutServer } from '../../serve/client.js';
import type { BackupSummary } from '../../store/backup.js';
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

async function newPassphrase(
  file: string | undefined,
  { given = process.env.LOAM_NEW_PASSPHRASE, instead = '--new-file, LOAM_NEW_PASSPHRASE or --remove', of = '' } = {},
): Promise<string> {
  let next = file === undefined ? given : await readPassphraseFile(file);
  if (next === undefined) {
    requireTerminal(instead);
    next = await readSecret(`new passphrase${of}: `);
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

const backupOptions = {
  backupPassphraseFile: text(
    'FILE',
    'File whose first line is the passphrase of the backup (default: LOAM_BACKUP_PASSPHRASE, or asked for on the terminal).',
  ),
};
const insteadOfTerminal = '--backup-passphrase-file or LOAM_BACKUP_PASSPHRASE';

const backupVerb = command({
  name: 'backup',
  summary: 'writes everything in the vault into one encrypted file',
  usage: 'FILE [--backup-passphrase-file FILE]',
  options: { ...backupOptions, ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  more: 'The file has a passphrase of its own, which is asked for. It is an age file with a tar archive in it, and holds what is deleted later, too: keep it as carefully as the vault. Not in it: models, and checkpoints of runs that have not ended.',
  async run({ positionals, options, output }) {
    const path = resolve(positionals[0]!);
    await using vault = await openVault(options, output, { mustExist: true });
    if (existsSync(path)) {
      throw new LoamError({
        code: 'exists',
        found: 'there is a file already',
        where: path,
        fix: 'choose another name',
      });
    }
    await requireWritable(path);
    const passphrase = await newPassphrase(options.backupPassphraseFile, {
      given: process.env.LOAM_BACKUP_PASSPHRASE,
      instead: insteadOfTerminal,
      of: ' of the backup',
    });
    let summary: BackupSummary | undefined;
    let size = 0;
    await writeFileAtomic(path, async (file) => {
      const told = (known: BackupSummary) => {
        summary = known;
      };
      for await (const piece of vault.backup(passphrase, told)) {
        await writeAll(file, piece);
        size += piece.length;
      }
    });
    output.line(`${path}: ${contentsOf(summary!)}, ${bytes(size)}; without its passphrase nobody can read it`);
    output.event({ type: 'result', path, bytes: size, ...summary! });
  },
});

const contentsOf = ({ datasets, adapters, versions, documents }: BackupSummary) =>
  `data sets: ${count(datasets)}, adapters: ${count(adapters)} (versions: ${count(versions)}), documents: ${count(documents)}`;

const restoreVerb = command({
  name: 'restore',
  summary: 'puts a backup in the place of everything in the vault',
  usage: 'FILE [--backup-passphrase-file FILE] [--yes]',
  options: {
    ...backupOptions,
    ...yesOption,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'The whole file is read and checked before anything changes. The vault keeps the passphrase that it has, or has none. Runs that had not ended when the backup was made begin anew.',
  async run({ positionals, options, output, signal }) {
    const { file } = await openRegularFile(resolve(positionals[0]!));
    await using _ = file;
    const summary = await withoutServer('a backup cannot be restored', async () => {
      await using vault = await openVault(options, output);
      const replace = await mayReplace(vault, options.yes, signal);
      const given = process.env.LOAM_BACKUP_PASSPHRASE;
      let passphrase =
        options.backupPassphraseFile === undefined ? given : await readPassphraseFile(options.backupPassphraseFile);
      if (passphrase === undefined) {
        requireTerminal(insteadOfTerminal);
        passphrase = await readSecret('passphrase of the backup: ');
      }
      return await vault.restore(file.createReadStream({ autoClose: false, signal }), passphrase, { replace });
    });
    output.line(`restored what was there on ${summary.createdAt.slice(0, 10)}: ${contentsOf(summary)}`);
    if (Vault.state(loamHome()) === 'open')
      output.line('note: this vault has no passphrase; "loam vault passphrase" sets one');
    output.event({ type: 'result', ...summary });
  },
});

/** Whether something is there that may go. */
async function mayReplace(vault: Vault, told: boolean, signal: AbortSignal): Promise<boolean> {
  try {
    vault.requireEmpty();
    return false;
  } catch (error) {
    if (!(error instanceof LoamError) || error.code !== 'confirm') throw error;
    await confirm(error.fault.found, 'replace everything', told, signal);
    return true;
  }
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
  summary: 'Shows, protects, backs up, restores or destroys the encrypted store of your data sets and adapters.',
  verbs: [statusVerb, passphraseVerb, backupVerb, restoreVerb, destroyVerb],
  more: 'Without a passphrase the key is in a file that only you can read; docs/vault.md says what that protects against.',
});
