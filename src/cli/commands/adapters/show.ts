import { bytes } from '../../../util/format.js';
import { findVersion } from '../../../vault/reference.js';
import type { AdapterVersion } from '../../../vault/types.js';
import type { Vault } from '../../../vault/Vault.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';
import type { Output } from '../../output.js';

export const showVerb = command({
  name: 'show',
  summary: 'its versions, and what each was made of',
  usage: 'NAME[@N]',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const { adapter, version, explicit } = findVersion(vault, positionals[0]!);
    output.line(`${adapter.name}, for ${adapter.model.name}`);
    const shown = explicit && version ? [version] : adapter.versions;
    for (const one of shown) showVersion(vault, one, one.id === adapter.active, output);
    if (adapter.active === null) output.line('in use: the bare base model');
    output.event({ type: 'result', adapter, ...(explicit && { version }) });
  },
});

function showVersion(vault: Vault, version: AdapterVersion, inUse: boolean, output: Output): void {
  const { lineage, note } = version;
  output.line(
    `  @${version.number}${inUse ? ' (in use)' : ''}  ${version.createdAt.slice(0, 16).replace('T', ' ')}  ${bytes(version.bytes)}`,
  );
  if (note !== '') output.line(`      ${note}`);
  if (lineage.imported !== undefined) output.line(`      from a file that calls itself "${lineage.imported}"`);
  for (const { id, sha256 } of lineage.datasets) {
    const known = vault.datasets.list().find((data) => data.id === id);
    output.line(
      `      learnt from ${known ? `"${known.name}"` : `data that is not in the vault (${sha256.slice(0, 12)})`}`,
    );
  }
  if (lineage.parent !== undefined) {
    const parent = vault.adapters
      .list()
      .flatMap(({ name, versions }) => versions.map((other) => ({ name, ...other })))
      .find(({ id }) => id === lineage.parent);
    output.line(`      began with ${parent ? `${parent.name}@${parent.number}` : 'a version that is deleted'}`);
  }
  const nll = lineage.metrics?.nll as { base?: unknown; adapted?: unknown } | undefined;
  if (typeof nll?.base === 'number' && typeof nll.adapted === 'number') {
    output.line(`      NLL ${nll.adapted.toFixed(3)}, of the base model ${nll.base.toFixed(3)}`);
  } else if (lineage.metrics?.stopped === true) {
    output.line('      of a stopped run, not measured');
  }
}
