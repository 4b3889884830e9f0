import { findDataset } from '../../../vault/reference.js';
import { command } from '../../command.js';
import { confirm } from '../../confirm.js';
import { namesOf } from '../../namesOf.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const deleteVerb = command({
  name: 'delete',
  summary: 'deletes a data set; with --with-adapters what was made from it too',
  usage: 'NAME [--with-adapters] [--yes]',
  options: {
    withAdapters: {
      kind: 'flag',
      default: false,
      sentence: 'Deletes every adapter version that has learnt from it, or that began with one that had.',
    },
    yes: { kind: 'flag', default: false, sentence: 'Does not ask.' },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  async run({ options, positionals, output, signal }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const info = findDataset(vault, positionals[0]!);
    const dependents = vault.datasets.dependents(info.id);
    const names = namesOf(vault, dependents);
    const both = options.withAdapters && dependents.length > 0;
    if (dependents.length > 0 && !options.withAdapters) {
      output.line(`made from it, and holding what they learnt: ${names}; --with-adapters deletes them too`);
    }
    await confirm(`"${info.name}"${both ? ` and ${names}` : ''} will be gone for good`, 'yes', options.yes, signal);
    await vault.datasets.delete(info.id, { withAdapters: options.withAdapters });
    output.line(`deleted "${info.name}"${both ? ` and ${names}` : ''}`);
    output.event({
      type: 'result',
      deleted: info.id,
      adapters: both ? dependents.map(({ id }) => id) : [],
      kept: both ? [] : dependents.map(({ id }) => id),
    });
  },
});
