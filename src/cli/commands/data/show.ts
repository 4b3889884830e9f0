import { bytes, count } from '../../../util/format.js';
import { findDataset } from '../../../vault/reference.js';
import { command } from '../../command.js';
import { namesOf } from '../../namesOf.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const showVerb = command({
  name: 'show',
  summary: 'what is known about a data set, and which adapters were made from it',
  usage: 'NAME',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const info = findDataset(vault, positionals[0]!);
    const dependents = vault.datasets.dependents(info.id);
    output.line(
      `${info.name}: ${count(info.examples)} usable of ${count(info.records)} records, ${count(info.excluded.length)} excluded, ${bytes(info.bytes)}`,
    );
    output.line(`  added ${info.createdAt}, changed ${info.changedAt}`);
    output.line(`  sha256 ${info.sha256}`);
    output.line(`  adapters made from it: ${namesOf(vault, dependents) || 'none'}`);
    output.line(`its text: loam data "vault:${info.name}"`);
    output.event({ type: 'result', dataset: info, dependents });
  },
});
