import { solveOptions } from '../../pipeline/options.js';
import { solve } from '../../pipeline/solve.js';
import { count, duration } from '../../util/format.js';
import { command } from '../command.js';
import { jsonOption } from '../options.js';
import { showTune } from '../showTune.js';

export const solveCommand = command({
  name: 'solve',
  summary: 'Pipeline, step 2: ridge regression and SVD, from activations to low-rank factors as .npy.',
  usage: 'E.npz --out DIR [options]',
  options: { ...solveOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'Layers are solved from the first adapted one upwards, while the model walks along with the corrections found so far.',
    'A file of one step (`loam embed --with`) is solved by itself, and its factors are added to DIR.',
    'DIR/factors.json names each linear with its rank, lambda and explained variance. See docs/pipeline.md.',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    const result = await showTune(solve(positionals[0]!, options, signal), output);
    output.line(
      `factors: ${result.factors} (${count(result.corrected)} of ${count(result.linears)} linears corrected), in ${duration(result.seconds)}`,
    );
    const { student, teacher } = result.nll;
    const part = student?.validation === undefined ? 'train' : 'validation';
    if (student?.[part] !== undefined) {
      output.line(
        `NLL of the ${part} examples by Loam's own forward pass: ${student[part].toFixed(3)}${teacher[part] === undefined ? '' : `, its teacher ${teacher[part].toFixed(3)}`}`,
      );
    }
    output.event(result);
  },
});
