import { loamHome } from '../../../util/home.js';
import { Vault } from '../../../vault/Vault.js';
import { command } from '../../command.js';
import { confirm } from '../../confirm.js';
import { jsonOption } from '../../options.js';

export const destroyVerb = command({
  name: 'destroy',
  summary: 'deletes everything in the vault, its keys first; needs no passphrase',
  usage: '[--yes]',
  options: {
    yes: { kind: 'flag', default: false, sentence: 'Does not ask.' },
    ...jsonOption,
  },
  positionals: [0, 0],
  async run({ options, output, signal }) {
    const existed = Vault.state(loamHome()) !== 'absent';
    await confirm(
      'every data set, adapter and document in the vault will be gone for good',
      'delete everything',
      options.yes,
      signal,
    );
    await Vault.destroy(loamHome());
    output.line(existed ? 'the vault is gone' : 'there was no vault');
    output.event({ type: 'result', existed });
  },
});
