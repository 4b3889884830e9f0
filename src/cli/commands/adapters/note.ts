import { requireVersion } from '../../../vault/reference.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const noteVerb = command({
  name: 'note',
  summary: 'writes a note to a version',
  usage: 'NAME[@N] TEXT',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [2, 2],
  async run({ options, positionals, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const { adapter, version } = requireVersion(vault, positionals[0]!);
    const noted = await vault.adapters.note(version.id, positionals[1]!);
    output.line(`noted beside ${adapter.name}@${version.number}`);
    output.event({ type: 'result', version: noted });
  },
});
