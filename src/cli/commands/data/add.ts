import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { loadDataset } from '../../../data/loadDataset.js';
import { count } from '../../../util/format.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const addVerb = command({
  name: 'add',
  summary: 'takes a file of examples into the vault, encrypted',
  usage: 'FILE [--name NAME]',
  options: {
    name: { kind: 'text', default: undefined, value: 'NAME', sentence: "Its name in the vault (default: the file's)." },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'The file stays where it is: delete it if only the encrypted copy is to remain.',
  async run({ options, positionals, output, signal }) {
    const file = positionals[0]!;
    // Refuses what is no file of examples, with its lines named, before the vault is opened.
    const { problems } = await loadDataset(file, { signal });
    const refused = problems.filter(({ severity }) => severity === 'error').length;
    await using vault = await openVault(options, output);
    const name = options.name ?? basename(file, extname(file)).replaceAll('@', '-').trim();
    const info = await vault.datasets.add(name, await readFile(file));
    if (refused > 0) output.line(`note: ${count(refused)} records cannot be used; loam data ${file} names them`);
    output.line(
      `in the vault as "${name}": ${count(info.examples)} examples; the file is still at ${file}, not encrypted`,
    );
    output.line(`tune on it: loam tune "vault:${name}" --keep NAME`);
    output.event({ type: 'result', dataset: info });
  },
});
