import { combineLoras } from '../../../adapter/combineLoras.js';
import { readAnyLora } from '../../../adapter/readAnyLora.js';
import { UsageError } from '../../../util/errors.js';
import { command } from '../../command.js';
import { checkOut, openBase, writeAny } from './files.js';
import { fileOptions, rankOption } from './options.js';
import { showRanks } from './showRanks.js';

const usage = 'IN --out OUT (--rank N | --energy SHARE)';

export const shrinkVerb = command({
  name: 'shrink',
  usage,
  summary: 'Lowers the rank of an adapter by SVD, and says what is lost.',
  options: {
    ...fileOptions,
    ...rankOption,
    energy: {
      kind: 'number',
      min: 0,
      max: 1,
      default: undefined,
      value: 'SHARE',
      sentence: 'Share of the squared norm of each correction to keep, such as 0.99; ranks then differ.',
    },
  },
  positionals: [1, 1],
  async run({ options, positionals, output, signal }) {
    const input = positionals[0]!;
    const { rank, energy } = options;
    if ((rank === undefined) === (energy === undefined)) {
      throw new UsageError({
        found: rank === undefined ? 'neither --rank nor --energy' : 'both --rank and --energy',
        expected: `loam adapters shrink ${usage}`,
      });
    }
    const out = await checkOut(options.out, `loam adapters shrink ${usage}`, [input]);
    const base = await openBase(options.model);
    const lora = await readAnyLora(input, base);
    const cut = await combineLoras([{ lora, weight: 1 }], {
      to: rank === undefined ? { energy: energy! } : { rank },
      onProgress: (done, total) => output.progress('shrinking', done, total),
      signal,
    });
    await writeAny(out, cut.lora, base, output);
    showRanks(cut, out, output);
  },
});
