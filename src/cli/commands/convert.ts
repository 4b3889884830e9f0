import { bytes } from '../../base/format.js';
import { choice, flag, text } from '../../base/options.js';
import { fileTypes, type QuantizedType } from '../../engine/quantize.js';
import { families } from '../../families/index.js';
import { convertModel } from '../../models/convert/convertModel.js';
import { runOptions } from '../../train/options.js';
import { command, jsonOption, required } from '../command.js';
import { showConvert } from '../show.js';

const types = ['auto', ...(Object.keys(fileTypes) as QuantizedType[])] as const;

export const convertCommand = command({
  name: 'convert',
  summary: 'Converts a Hugging Face folder to GGUF, and quantises models.',
  usage: 'FOLDER-or-MODEL.gguf --out M.gguf [--type q4_0]',
  options: {
    out: text('FILE', 'GGUF file to write.'),
    type: choice(
      types,
      'Type of the matrices: f32, f16, bf16, q8_0, q4_0, q4_k_m, ...; auto keeps the type of the folder.',
      { value: 'TYPE' },
    ),
    pure: flag('Use exactly this type for every matrix; llama.cpp would choose finer types for some.'),
    imatrix: text('FILE', 'Importance matrix for quantising (GGUF, from llama-imatrix).'),
    threads: runOptions.threads,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: [
    'Reads config.json, tokenizer.json or tokenizer.model, and safetensors in bf16, f16 or f32.',
    `Families: ${[...families.values()].map(({ title }) => title).join(', ')}.`,
    `Types: ${types.join(', ')}.`,
    'For types other than f32, f16, bf16 and q8_0, the folder is first written unquantised beside the result, which needs that much',
    'disk space for a while.',
  ].join('\n'),
  async run({ options, positionals, output, signal, usage }) {
    const out = required(options.out, '--out', usage);
    const { type, pure, imatrix, threads } = options;
    const settings = { type, pure, imatrix, threads, signal };
    const converted = await showConvert(convertModel(positionals[0]!, out, settings), output);
    output.line(`${converted.path} (${converted.matrices}, ${bytes(converted.bytes)})`);
    output.event({ type: 'result', ...converted });
  },
});
