import { bytes, count } from '../../../util/format.js';
import { loamHome } from '../../../util/home.js';
import { VaultDamagedError } from '../../../vault/errors.js';
import { Vault } from '../../../vault/Vault.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const statusVerb = command({
  name: 'status',
  summary: 'what is in the vault, and whether it is whole',
  usage: '[--check]',
  options: {
    check: { kind: 'flag', default: false, sentence: 'Reads every content and names what is damaged.' },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [0, 0],
  async run({ options, output }) {
    const where = loamHome('vault');
    if (Vault.state(loamHome()) === 'absent') {
      output.line('there is no vault yet; loam data add FILE and loam tune DATA --keep NAME make one');
      output.event({ type: 'result', state: 'absent', path: where });
      return;
    }
    await using vault = await openVault(options, output);
    const storage = vault.storage();
    const adapters = vault.adapters.list();
    const versions = adapters.reduce((sum, { versions: own }) => sum + own.length, 0);
    output.line(`${where}: ${vault.locked ? 'locked with a passphrase' : 'its key lies in a file beside it'}`);
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
      throw new VaultDamagedError({ found: `${count(problems.length)} damaged, named above`, where });
    }
  },
});
