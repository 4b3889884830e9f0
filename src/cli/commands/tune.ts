import { tuneOptions } from '../../tune/options.js';
import { tune } from '../../tune/tune.js';
import { command } from '../command.js';
import { jsonOption } from '../options.js';
import { showResult, showTune } from '../showTune.js';

export const tuneCommand = command({
  name: 'tune',
  summary: 'Tunes a model on your examples and writes a LoRA adapter that llama.cpp loads.',
  usage: 'DATA [options]',
  options: { ...tuneOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'DATA holds examples as JSON, JSONL or CSV: instruction/input/output, chat messages, ShareGPT, or',
    'question and answer pairs. Try `loam data DATA` to see what the model will learn from it.',
    '',
    'Example: loam tune my-examples.json --out me.gguf && loam chat --adapter me.gguf',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    const result = await showTune(tune(positionals[0]!, options, signal), output);
    showResult(result, output);
    output.line(
      `try it: loam chat --adapter ${result.adapter}${options.model === 'smollm2-135m' ? '' : ` --model ${options.model}`}`,
    );
    output.event(result);
  },
});
