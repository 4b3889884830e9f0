import { bytes, count, duration } from '../../base/format.js';
import { embedFile } from '../../train/steps/embedStep.js';
import { embedOptions, packOptions, solveOptions } from '../../train/steps/options.js';
import { pack } from '../../train/steps/pack.js';
import { solve } from '../../train/steps/solve.js';
import { command, jsonOption } from '../command.js';
import { showTune } from '../show.js';

export const embedCommand = command({
  name: 'embed',
  summary: 'Pipeline, step 1: computes activations of teacher and student over your examples, as .npz for NumPy.',
  usage: 'DATA --out E.npz [options] | E.npz --with DIR --out STEP.npz',
  options: { ...embedOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'The three steps produce the same adapter as `loam tune --method ridge`:',
    '  loam embed DATA --out E.npz && loam solve E.npz --out DIR && loam pack DIR --out A.gguf',
    'docs/pipeline.md describes the files and how to replace a step with NumPy. E.npz contains your examples as tokens: it is as',
    'confidential as they are.',
  ].join('\n'),
  async run({ options, given, positionals, output, signal }) {
    const run = await embedFile(positionals[0]!, options, given, signal);
    const result = await showTune(run, output);
    if (result.activations === null) output.line('every linear already has its correction; nothing was written');
    else output.line(`activations: ${result.activations} (${bytes(result.bytes)}), in ${duration(result.seconds)}`);
    output.line(`${count(result.rows.train)} rows to fit, ${count(result.rows.validation)} to choose by`);
    output.event(result);
  },
});

export const solveCommand = command({
  name: 'solve',
  summary: 'Pipeline, step 2: turns activations into low-rank factors (.npy) by ridge regression and SVD.',
  usage: 'E.npz --out DIR [options]',
  options: { ...solveOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'Layers are solved from the first adapted one upwards, each with the corrections found below it applied.',
    'A file for one step (`loam embed --with`) is solved on its own, and its factors are added to DIR.',
    'DIR/factors.json lists each linear with its rank, lambda and explained variance. See docs/pipeline.md.',
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

export const packCommand = command({
  name: 'pack',
  summary: 'Pipeline, step 3: turns factors (.npy) into an adapter for llama.cpp and for PEFT.',
  usage: 'DIR --out A.gguf [options]',
  options: { ...packOptions, ...jsonOption },
  positionals: [1, 1],
  more: [
    'DIR is what `loam solve` wrote, or your own: factors.json with {"linears": [{"layer": 15, "module": "ffn_down"}, ...]} and for',
    'each of them blk.15.ffn_down.a.npy [rank, inputs] and blk.15.ffn_down.b.npy [outputs, rank]. See docs/pipeline.md.',
    'pack measures nothing; `loam eval DATA --adapter A.gguf` does.',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    const result = await showTune(pack(positionals[0]!, options, signal), output);
    output.line(`adapter: ${result.adapter} (${bytes(result.bytes)}, rank ${result.rank}, alpha ${result.alpha})`);
    output.line(`for PEFT: ${result.peft}`);
    output.event(result);
  },
});
