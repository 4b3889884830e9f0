import { tuneOptions } from '../../tune/options.js';
import type { PrivateRun } from '../../tune/privateRun.js';
import { tune } from '../../tune/tune.js';
import { vaultRun } from '../../tune/vaultRun.js';
import { checkName } from '../../vault/checkName.js';
import { findDataset, isReference, requireVersion } from '../../vault/reference.js';
import { command } from '../command.js';
import { jsonOption, vaultOptions } from '../options.js';
import { showResult, showTune } from '../showTune.js';
import { VaultArguments } from '../vaultArguments.js';

export const tuneCommand = command({
  name: 'tune',
  summary: 'Tunes a model on your examples and writes a LoRA adapter that llama.cpp loads.',
  usage: 'DATA [options]',
  options: {
    ...tuneOptions,
    keep: {
      kind: 'text',
      default: undefined,
      value: 'NAME',
      sentence:
        'Keeps the adapter in the vault, encrypted, as the next version of NAME; a file only if --out names one.',
    },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: [
    'DATA holds examples as JSON, JSONL or CSV: instruction/input/output, chat messages, ShareGPT, or',
    'question and answer pairs. Try `loam data DATA` to see what the model will learn from it.',
    'vault:NAME is a data set or an adapter in the vault: as DATA, and for --heldout, --start and --teacher.',
    '',
    'Example: loam tune my-examples.json --out me.gguf && loam chat --adapter me.gguf',
  ].join('\n'),
  async run({ options: { keep, passphraseFile, json: _, ...options }, positionals, output, signal }) {
    if (keep !== undefined) checkName(keep, 'an adapter');
    await using from = new VaultArguments({ passphraseFile }, output);
    const argument = positionals[0]!;
    const data = await from.data(argument);
    const [parent, teacher] = [await versionOf(from, options.start), await versionOf(from, options.teacher)];
    const files = { start: await from.adapterPath(options.start), teacher: await from.adapterPath(options.teacher) };
    let secret: PrivateRun | undefined;
    if (keep !== undefined || typeof data !== 'string' || parent !== undefined || teacher !== undefined) {
      const vault = await from.vault();
      const dataset = isReference(argument) ? findDataset(vault, argument).id : undefined;
      secret = await vaultRun(vault, { name: keep, out: options.out, dataset, parent, teacher });
    }
    if (options.heldout !== undefined && isReference(options.heldout)) {
      secret = {
        ...(secret ?? (await vaultRun(await from.vault(), { out: options.out }))),
        heldout: await from.data(options.heldout),
      };
    }
    const result = await showTune(tune(data, { ...options, ...files }, signal, secret), output);
    showResult(result, output);
    const model = options.model === 'smollm2-135m' ? '' : ` --model ${options.model}`;
    output.line(`try it: loam chat --adapter ${quoted(result.adapter)}${model}`);
    output.event(result);
  },
});

/** Id of the version that an argument names; undefined for a file. */
async function versionOf(from: VaultArguments, argument: string | undefined): Promise<string | undefined> {
  if (argument === undefined || !isReference(argument)) return undefined;
  return requireVersion(await from.vault({ mustExist: true }), argument).version.id;
}

/** For a shell, where a name has spaces in it. */
function quoted(argument: string): string {
  return /^[\w@:./\\-]+$/.test(argument) ? argument : JSON.stringify(argument);
}
