import { isPeft, readAnyLora } from '../../../adapter/readAnyLora.js';
import { UsageError } from '../../../util/errors.js';
import { count } from '../../../util/format.js';
import { command } from '../../command.js';
import { checkOut, isGgufPath, openBase, writeAny } from './files.js';
import { fileOptions } from './options.js';

const usage = 'IN --out OUT [--model MODEL]';

export const convertVerb = command({
  name: 'convert',
  usage,
  summary: 'Writes a LoRA GGUF as a folder for PEFT, or the other way round; factors keep their bits.',
  options: fileOptions,
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    const input = positionals[0]!;
    const out = await checkOut(options.out, `loam adapters convert ${usage}`, [input]);
    const peft = await isPeft(input);
    if (peft !== isGgufPath(out)) {
      throw new UsageError({
        found: peft ? 'an --out that does not end in .gguf' : 'an --out that ends in .gguf',
        expected: peft
          ? 'FILE.gguf, because the adapter is one of PEFT'
          : 'a folder, because the adapter is a GGUF file',
        where: out,
      });
    }
    const base = await openBase(options.model);
    const lora = await readAnyLora(input, base);
    await writeAny(out, lora, base, output);
    output.line(`${out}: ${count(lora.modules.length)} modules, ${peft ? 'LoRA GGUF' : 'an adapter of PEFT'}`);
    output.event({ type: 'result', adapter: out, format: peft ? 'gguf' : 'peft', modules: lora.modules.length });
  },
});
