import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { readAdapter } from '../../../adapter/readAdapter.js';
import { resolveModel } from '../../../catalog/resolveModel.js';
import { readGguf } from '../../../gguf/readGguf.js';
import { readHyperparameters } from '../../../model/hyperparameters.js';
import { runOptions } from '../../../tune/options.js';
import { referenceTo } from '../../../vault/reference.js';
import { command } from '../../command.js';
import { hashModel } from '../../hashModel.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const importVerb = command({
  name: 'import',
  summary: 'takes the file of an adapter (GGUF) into the vault',
  usage: 'FILE [--name NAME] [--model MODEL]',
  options: {
    name: {
      kind: 'text',
      default: undefined,
      value: 'NAME',
      sentence: 'Adapter to add a version to, or a new name (default: from the file).',
    },
    model: runOptions.model,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'It is checked against the base model first. The file stays where it is: delete it if it is private.',
  async run({ options, positionals, output, signal }) {
    const file = positionals[0]!;
    const source = await resolveModel(options.model);
    const gguf = await readGguf(source.path);
    const adapter = await readAdapter(file, { gguf, hyper: readHyperparameters(gguf) });
    const sha256 = source.sha256 ?? (await hashModel(source.path, output, signal));
    await using vault = await openVault(options, output);
    const model = { name: gguf.string('general.name', '') || options.model, sha256 };
    const name = options.name ?? basename(file, extname(file)).replaceAll('@', '-');
    const version = await vault.adapters.addVersion({ name, model }, await readFile(file), {
      base: model,
      datasets: [],
      recipe: adapter.recipe,
      metrics: adapter.metrics,
      imported: adapter.name,
    });
    const reference = referenceTo({ name }, version);
    output.line(`in the vault as ${name}@${version.number}; the file is still at ${file}, not encrypted`);
    output.line(`try it: loam chat --adapter "${reference}"`);
    output.event({ type: 'result', version, reference });
  },
});
