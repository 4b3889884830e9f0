import { bytes, count } from '../../../util/format.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';
import { table } from '../../table.js';

export const listVerb = command({
  name: 'list',
  summary: 'names, base models, versions',
  usage: '',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [0, 0],
  async run({ options, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const adapters = vault.adapters.list();
    if (adapters.length === 0) output.line('no adapters yet; loam tune DATA --keep NAME makes one');
    table(
      adapters.map(({ name, model, versions, active }) => [
        name,
        model.name,
        `${count(versions.length)} ${versions.length === 1 ? 'version' : 'versions'}`,
        active === null ? 'base in use' : `@${versions.find(({ id }) => id === active)!.number} in use`,
        bytes(versions.reduce((sum, version) => sum + version.bytes, 0)),
      ]),
      output,
    );
    output.event({ type: 'result', adapters });
  },
});
