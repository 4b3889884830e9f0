import { UsageError } from '../../../util/errors.js';
import { findVersion } from '../../../vault/reference.js';
import { command } from '../../command.js';
import { confirm } from '../../confirm.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const deleteVerb = command({
  name: 'delete',
  summary: 'deletes an adapter with all its versions, or one version (NAME@N)',
  usage: 'NAME[@N] [--yes]',
  options: {
    yes: { kind: 'flag', default: false, sentence: 'Does not ask.' },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  async run({ options, positionals, output, signal }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const { adapter, version, explicit } = findVersion(vault, positionals[0]!);
    if (explicit && !version)
      throw new UsageError({ found: 'the bare base model', expected: 'an adapter or a version' });
    const what = explicit
      ? `${adapter.name}@${version!.number}`
      : `${adapter.name} with ${adapter.versions.length} versions`;
    await confirm(`${what} will be gone for good`, 'yes', options.yes, signal);
    if (explicit) await vault.adapters.deleteVersion(version!.id);
    else await vault.adapters.delete(adapter.id);
    output.line(`deleted ${what}`);
    if (explicit && version!.id === adapter.active) output.line('it was in use: the bare base model is now');
    output.event({ type: 'result', deleted: explicit ? [version!.id] : adapter.versions.map(({ id }) => id) });
  },
});
