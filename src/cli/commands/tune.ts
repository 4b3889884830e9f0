import { Attendance } from '../../base/device/Attendance.js';
import { thisDevice } from '../../base/device/thisDevice.js';
import { text } from '../../base/options.js';
import { loamHome } from '../../base/process.js';
import type { NamedBytes } from '../../examples/example.js';
import { findDataset, isReference } from '../../store/references.js';
import { checkName } from '../../store/types.js';
import { skillOptions, skillRun, tuneOptions } from '../../train/options.js';
import { type PrivateRun, vaultRun } from '../../train/output.js';
import { tune } from '../../train/tune.js';
import { command, jsonOption, vaultOptions } from '../command.js';
import { quoted } from '../output.js';
import { modelFlag, showResult, showTune } from '../show.js';
import { VaultArguments } from '../vault.js';

export const tuneCommand = command({
  name: 'tune',
  summary: 'Tunes a model on your examples and writes a LoRA adapter that llama.cpp loads.',
  usage: 'DATA [DATA ...] [options]',
  options: {
    ...tuneOptions,
    keep: text(
      'NAME',
      'Keep the adapter in the vault, encrypted, as the next version of NAME; write a file only if --out names one.',
    ),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 32],
  more: [
    'DATA holds examples as JSON, JSONL or CSV (instruction/input/output, chat messages, ShareGPT, question and answer',
    'pairs, or texts), or is a text (.txt, .md). Try `loam data DATA` to see what the model will learn from it.',
    'Of several DATA all are learnt in one run, what stands in more than one of them once.',
    'DATA, --heldout, --start and --teacher also accept vault:NAME, a data set or an adapter in the vault.',
    '',
    'Example: loam tune my-examples.json --out me.gguf && loam chat --adapter me.gguf',
  ].join('\n'),
  async run({ options: { keep, passphraseFile, json: _, ...options }, positionals, output, signal }) {
    if (keep !== undefined) checkName(keep, 'an adapter');
    await using from = new VaultArguments({ passphraseFile }, output);
    const data: (string | NamedBytes)[] = [];
    for (const argument of positionals) data.push(await from.data(argument));
    const [start, teacher] = [await from.adapter(options.start), await from.adapter(options.teacher)];
    const heldout = options.heldout === undefined ? undefined : await from.data(options.heldout);
    let secret: PrivateRun | undefined;
    if (from.used || keep !== undefined) {
      const vault = await from.vault();
      const datasets = positionals.filter(isReference).map((argument) => findDataset(vault, argument).id);
      const lineage = { datasets, parent: start.version, teacher: teacher.version };
      secret = { ...(await vaultRun(vault, { name: keep, out: options.out, ...lineage })), heldout };
    }
    const files = { start: start.path, teacher: teacher.path };
    const { pid } = process;
    await using attendance = await Attendance.begin(thisDevice(), String(pid), `kill -INT ${pid}`, options.keepAwake);
    const run = tune(data, { ...options, ...files }, signal, secret);
    const result = await showTune(run, output, (done, total) => attendance.progress(done / total)).catch(
      async (error: unknown) => {
        // Of a run on what was deleted meanwhile.
        if (from.used) await (await from.vault()).runKeys.removeStray(loamHome()).catch(() => {});
        throw error;
      },
    );
    showResult(result, output);
    output.line(`try it: loam chat --adapter ${quoted(result.adapter)}${modelFlag(options.model)}`);
    output.event(result);
  },
});

export const skillCommand = command({
  name: 'skill',
  summary: 'Trains a general skill adapter on instructions of all kinds, for `tune` to build on.',
  usage: 'DATA [options]',
  options: { ...skillOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'DATA holds general instructions with good answers, such as Stanford Alpaca (52,000 records): a thousand take minutes on a',
    'laptop. The result is an ordinary adapter. Then:',
    '',
    '  loam tune my-examples.json --teacher skill-lora.gguf     ridge learns from a teacher with this adapter',
    '  loam tune my-examples.json --start skill-lora.gguf       training by gradients starts from it',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    const result = await showTune(tune(positionals[0]!, skillRun(options), signal), output);
    showResult(result, output);
    output.line(`use it: loam tune my-examples.json --teacher ${result.adapter}`);
    output.event(result);
  },
});
