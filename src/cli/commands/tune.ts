import { findDataset, isReference, requireVersion } from '../../store/adapters.js';
import { checkName } from '../../store/types.js';
import { tuneOptions } from '../../train/options.js';
import { type PrivateRun, vaultRun } from '../../train/output.js';
import { tune } from '../../train/tune.js';
import { command, jsonOption, vaultOptions } from '../command.js';
import { showResult, showTune } from '../show.js';
import { VaultArguments } from '../vault.js';

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

/** A skill is learnt once and used often, and must not overfit the phrasing of its examples: one pass, a calmer learning rate. */
const skillDefaults = { epochs: 1, lr: 5e-4, batch: 8 } as const;

const { method: _method, teacher: _teacher, shots: _shots, lambda: _lambda, sweeps: _sweeps, ...options } = tuneOptions;

export const skillCommand = command({
  name: 'skill',
  summary: 'Trains a general skill adapter from instructions of all kinds, for `tune` to build on.',
  usage: 'DATA [options]',
  options: {
    ...options,
    epochs: { ...options.epochs, default: skillDefaults.epochs },
    lr: { ...options.lr, default: skillDefaults.lr, sentence: 'Peak learning rate.' },
    batch: { ...options.batch, default: skillDefaults.batch },
    ...jsonOption,
  },
  positionals: [1, 1],
  more: [
    'DATA holds general instructions with good answers, such as Stanford Alpaca (52,000 records): a thousand take minutes on a',
    'laptop. The adapter is one like any other. Then:',
    '',
    '  loam tune my-examples.json --teacher skill-lora.gguf     ridge learns from a teacher that wears it',
    '  loam tune my-examples.json --start skill-lora.gguf       training by gradients begins with it',
  ].join('\n'),
  async run({ options: chosen, positionals, output, signal }) {
    const complete = {
      ...chosen,
      method: 'qlora' as const,
      teacher: undefined,
      shots: undefined,
      lambda: undefined,
      sweeps: undefined,
    };
    const result = await showTune(tune(positionals[0]!, complete, signal), output);
    showResult(result, output);
    output.line(`use it: loam tune my-examples.json --teacher ${result.adapter}`);
    output.event(result);
  },
});
