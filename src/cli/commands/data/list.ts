import { bytes, count } from '../../../util/format.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';
import { table } from '../../table.js';

export const listVerb = command({
  name: 'list',
  summary: 'the data sets in the vault',
  usage: '',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [0, 0],
  async run({ options, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const datasets = vault.datasets.list();
    if (datasets.length === 0) output.line('no data sets yet; loam data add FILE takes one in');
    table(
      datasets.map(({ name, createdAt, examples, excluded, bytes: size }) => [
        name,
        `${count(examples)} examples${excluded.length > 0 ? ` (${count(excluded.length)} excluded)` : ''}`,
        bytes(size),
        createdAt.slice(0, 10),
      ]),
      output,
    );
    output.event({ type: 'result', datasets });
  },
});
