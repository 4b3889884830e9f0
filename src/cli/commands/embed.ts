import { open } from 'node:fs/promises';
import { embed } from '../../pipeline/embed.js';
import { embedStep } from '../../pipeline/embedStep.js';
import { embedOptions } from '../../pipeline/options.js';
import { UsageError } from '../../util/errors.js';
import { count, duration, bytes as size } from '../../util/format.js';
import { flagOf } from '../../util/options.js';
import { command } from '../command.js';
import { jsonOption } from '../options.js';
import { showTune } from '../showTune.js';

/** What still means something where the examples come out of a file of activations. */
const stepOptions = new Set(['out', 'with', 'linear', 'model', 'threads', 'f16', 'json']);

export const embedCommand = command({
  name: 'embed',
  summary: 'Pipeline, step 1: activations of teacher and student over your examples, as .npz for NumPy.',
  usage: 'DATA --out E.npz [options] | E.npz --with DIR --out STEP.npz',
  options: { ...embedOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'The three steps give the adapter of `loam tune --method ridge`:',
    '  loam embed DATA --out E.npz && loam solve E.npz --out DIR && loam pack DIR --out A.gguf',
    'docs/pipeline.md describes the files, and how to replace a step with NumPy. E.npz holds your examples as tokens: it is as',
    'confidential as they are.',
  ].join('\n'),
  async run({ options, given, positionals, output, signal }) {
    const file = positionals[0]!;
    const activations = await isZip(file);
    if (!activations && (options.with !== undefined || options.linear !== undefined)) {
      throw new UsageError({
        found: `${options.with === undefined ? '--linear' : '--with'}, and ${file} is no file of activations`,
        expected: 'one that `loam embed` made',
      });
    }
    if (activations && options.with === undefined) {
      throw new UsageError({
        found: `${file} is an archive, perhaps of activations`,
        expected: 'a file of examples, or --with DIR',
      });
    }
    const other = activations ? [...given].find((name) => !stepOptions.has(name)) : undefined;
    if (other !== undefined) {
      throw new UsageError({ found: `${flagOf(other)}, which is settled in ${file}`, fix: 'leave it out' });
    }
    const run = activations ? embedStep(file, options, signal) : embed(file, options, signal);
    const result = await showTune(run, output);
    if (result.activations === null) output.line('every linear has its correction; nothing was written');
    else output.line(`activations: ${result.activations} (${size(result.bytes)}), in ${duration(result.seconds)}`);
    output.line(`${count(result.rows.train)} rows to fit, ${count(result.rows.validation)} to choose by`);
    output.event(result);
  },
});

async function isZip(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (!file) return false;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.readUInt32LE(0) === 0x04034b50;
  } catch {
    return false;
  } finally {
    await file.close();
  }
}
