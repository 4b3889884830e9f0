import { packOptions } from '../../pipeline/options.js';
import { pack } from '../../pipeline/pack.js';
import { bytes } from '../../util/format.js';
import { command } from '../command.js';
import { jsonOption } from '../options.js';
import { showTune } from '../showTune.js';

export const packCommand = command({
  name: 'pack',
  summary: 'Pipeline, step 3: factors (.npy) to an adapter for llama.cpp (GGUF) and for PEFT (safetensors).',
  usage: 'DIR --out A.gguf [options]',
  options: { ...packOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'DIR is what `loam solve` wrote, or your own: factors.json with {"linears": [{"layer": 15, "module": "ffn_down"}, ...]} and for',
    'each of them blk.15.ffn_down.a.npy [rank, inputs] and blk.15.ffn_down.b.npy [outputs, rank]. See docs/pipeline.md.',
    'Nothing is measured: `loam eval DATA --adapter A.gguf` does that.',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    const result = await showTune(pack(positionals[0]!, options, signal), output);
    output.line(`adapter: ${result.adapter} (${bytes(result.bytes)}, rank ${result.rank}, alpha ${result.alpha})`);
    output.line(`for PEFT: ${result.peft}`);
    output.event(result);
  },
});
