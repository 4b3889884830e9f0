import { dirname } from 'node:path';
import { mergeGguf } from '../../../adapter/mergeGguf.js';
import { mergeHf } from '../../../adapter/mergeHf.js';
import { readAnyLora } from '../../../adapter/readAnyLora.js';
import type { TensorTypeName } from '../../../ggml/tensorTypes.js';
import { LoamError, UsageError } from '../../../util/errors.js';
import { count } from '../../../util/format.js';
import { command } from '../../command.js';
import { checkOut, isGgufPath, openBase } from './files.js';
import { fileOptions } from './options.js';

const usage = 'ADAPTER --model MODEL --out OUT [--type TYPE]';

export const mergeVerb = command({
  name: 'merge',
  usage,
  summary:
    'Writes the base model with the adapter in its weights: GGUF from GGUF, a Hugging Face folder from such a folder.',
  options: {
    ...fileOptions,
    type: {
      kind: 'choice',
      choices: ['own', 'f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q5_k', 'q5_1', 'q5_0', 'q4_k', 'q4_1', 'q4_0'],
      default: 'own',
      sentence: 'Type of the matrices that change (GGUF); own keeps that of each.',
    },
  },
  positionals: [1, 1],
  async run({ options, positionals, output, signal }) {
    const adapter = positionals[0]!;
    const base = await openBase(options.model);
    const folder = base.gguf ? undefined : dirname(base.path);
    const read = [adapter, folder ?? base.path];
    const out = await checkOut(options.out, `loam adapters merge ${usage}`, read);
    if (isGgufPath(out) !== (folder === undefined)) {
      throw new LoamError({
        found: folder
          ? 'a Hugging Face folder as base and a GGUF file to write'
          : 'a GGUF file as base and a folder to write',
        expected: 'both of one kind',
        where: out,
        fix: folder
          ? 'write a folder, or convert the base first'
          : 'write FILE.gguf, or pass the Hugging Face folder of the base',
      });
    }
    if (folder && options.type !== 'own') {
      throw new UsageError({
        found: '--type with a Hugging Face folder',
        expected: 'none: each matrix keeps its type',
      });
    }
    const lora = await readAnyLora(adapter, base);
    const type = options.type === 'own' ? undefined : (options.type as TensorTypeName);
    const onProgress = (done: number, total: number) => output.progress('merging', done, total);
    const { changed, noise } = base.gguf
      ? await mergeGguf(base.gguf, lora, out, { type, onProgress, signal })
      : await mergeHf(folder!, base, lora, out, { onProgress, signal });
    output.line(`${out}: ${count(changed)} matrices corrected`);
    output.line(`rounding into their type moves them ${noise.toPrecision(2)} times as far as the correction does`);
    if (noise > 0.5 && type === undefined && base.gguf)
      output.line('note: --type q8_0 or f16 keeps more of the correction');
    output.event({ type: 'result', model: out, changed, noise });
  },
});
