import { stat } from 'node:fs/promises';
import { combineLoras } from '../../../adapter/combineLoras.js';
import type { Lora } from '../../../adapter/lora.js';
import { maxRank } from '../../../adapter/lora.js';
import { readAnyLora } from '../../../adapter/readAnyLora.js';
import { scaleLora } from '../../../adapter/scaleLora.js';
import { UsageError } from '../../../util/errors.js';
import { command } from '../../command.js';
import { checkOut, openBase, writeAny } from './files.js';
import { fileOptions, rankOption } from './options.js';
import { showRanks } from './showRanks.js';

const usage = 'A[:WEIGHT] B[:WEIGHT] ... --out OUT [--rank N]';

export const combineVerb = command({
  name: 'combine',
  usage,
  summary: 'Writes the weighted sum of adapters, cut to a rank by SVD; one adapter alone is scaled by its weight.',
  options: { ...fileOptions, ...rankOption },
  positionals: [1, 100],
  async run({ options, positionals, output, signal }) {
    const terms = await Promise.all(positionals.map(parseTerm));
    const paths = terms.map(({ path }) => path);
    const out = await checkOut(options.out, `loam adapters combine ${usage}`, paths);
    const base = await openBase(options.model);
    const read: { lora: Lora; weight: number }[] = [];
    for (const { path, weight } of terms) read.push({ lora: await readAnyLora(path, base), weight });
    if (read.length === 1 && options.rank === undefined) {
      await writeAny(out, scaleLora(read[0]!.lora, read[0]!.weight), base, output);
      output.line(`${out}: ${read[0]!.weight} times ${paths[0]}`);
      output.event({ type: 'result', adapter: out, lost: 0 });
      return;
    }
    const largest = Math.max(...read.flatMap(({ lora }) => lora.modules.map(({ factors }) => factors.rank)));
    const rank = Math.min(maxRank, options.rank ?? largest);
    const combined = await combineLoras(read, {
      to: { rank },
      onProgress: (done, total) => output.progress('combining', done, total),
      signal,
    });
    await writeAny(out, combined.lora, base, output);
    showRanks(combined, out, output);
  },
});

/** "a.gguf:0.5"; a path may itself hold a colon. */
async function parseTerm(text: string): Promise<{ path: string; weight: number }> {
  const match = /^(.+):([^:/\\]*)$/.exec(text);
  const exists = await stat(text).catch(() => undefined);
  if (!match || exists) return { path: text, weight: 1 };
  const weight = match[2]!.trim() === '' ? Number.NaN : Number(match[2]);
  if (!Number.isFinite(weight) || weight === 0 || Math.abs(weight) > 1000) {
    throw new UsageError({
      found: `the weight "${match[2]}"`,
      expected: 'a number other than 0, from -1000 to 1000',
      where: text,
      fix: 'write ADAPTER:WEIGHT, such as style.gguf:0.5',
    });
  }
  return { path: match[1]!, weight };
}
