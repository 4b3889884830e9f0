import { tuneOptions } from '../../tune/options.js';
import { tune } from '../../tune/tune.js';
import { command } from '../command.js';
import { jsonOption } from '../options.js';
import { showResult, showTune } from '../showTune.js';

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
