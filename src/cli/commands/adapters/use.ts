import { UsageError } from '../../../util/errors.js';
import { findVersion } from '../../../vault/reference.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const useVerb = command({
  name: 'use',
  summary: 'chooses the version in use; NAME@base is the bare base model',
  usage: 'NAME@N',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const { adapter, version, explicit } = findVersion(vault, positionals[0]!);
    if (!explicit) {
      const numbers = adapter.versions.map(({ number }) => `${adapter.name}@${number}`);
      throw new UsageError({ found: 'no version', expected: `${adapter.name}@base or one of ${numbers.join(', ')}` });
    }
    await vault.adapters.use(adapter.id, version?.id ?? null);
    output.line(
      version ? `${adapter.name}@${version.number} is in use` : `${adapter.name}: the bare base model is in use`,
    );
    output.event({ type: 'result', adapter: adapter.id, active: version?.id ?? null, number: version?.number ?? null });
  },
});
