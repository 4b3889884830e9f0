import { LoamError } from '../../../util/errors.js';
import { findVersion } from '../../../vault/reference.js';
import type { Adapter, AdapterVersion } from '../../../vault/types.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const rollbackVerb = command({
  name: 'rollback',
  summary: 'goes back to the version before, or to NAME@N or NAME@base',
  usage: 'NAME[@N]',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  more: 'Nothing is lost by it: loam adapters use NAME@N goes forward again.',
  async run({ options, positionals, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const found = findVersion(vault, positionals[0]!);
    const { adapter } = found;
    const version = found.explicit ? found.version : before(adapter);
    await vault.adapters.use(adapter.id, version?.id ?? null);
    output.line(version ? `back to ${adapter.name}@${version.number}` : `${adapter.name}: back to the bare base model`);
    output.event({ type: 'result', adapter: adapter.id, active: version?.id ?? null, number: version?.number ?? null });
  },
});

/** The version before the one in use; null, the bare base model, before the first. */
function before({ name, versions, active }: Adapter): AdapterVersion | null {
  const current = versions.find(({ id }) => id === active);
  if (!current) {
    throw new LoamError({
      found: `"${name}" is already at the bare base model`,
      fix: `loam adapters use ${name}@${versions[0]!.number} goes forward again`,
    });
  }
  return versions.find(({ number }) => number < current.number) ?? null;
}
