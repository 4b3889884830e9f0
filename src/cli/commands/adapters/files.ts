import type { CombinedLora } from '../../../adapters/combine.js';
import { combineAdapters, convertAdapter, mergeAdapter, shrinkAdapter } from '../../../adapters/files.js';
import { UsageError } from '../../../base/errors.js';
import { count } from '../../../base/format.js';
import { choice, integer, number, type Schema, text } from '../../../base/options.js';
import type { TensorTypeName } from '../../../engine/tensorTypes.js';
import { runOptions } from '../../../train/options.js';
import { command, jsonOption, required } from '../../command.js';
import type { Output } from '../../output.js';

/** The verbs of `loam adapters` that work from file to file. */

const fileOptions = {
  model: {
    ...runOptions.model,
    sentence: 'Base model: a name from `loam models list`, a GGUF file, or a Hugging Face folder with its config.json.',
  },
  out: text('PATH', 'What to write: FILE.gguf, or a folder for PEFT.'),
  ...jsonOption,
} as const satisfies Schema;

const rankOption = {
  rank: integer([1, 1024], 'Largest rank of a module (combine: by default the largest rank of the adapters).'),
} as const satisfies Schema;

/** Less than this is the rounding of f32. */
const rounding = 1e-13;

/** What an adapter whose ranks were cut has become, and what that cost. */
function showRanks({ lost, worst, ranks, lora }: CombinedLora, out: string, output: Output): void {
  const percent = (share: number) => (share < rounding ? '0 %' : `${(100 * share).toPrecision(2)} %`);
  const rank = ranks[0] === ranks[1] ? `rank ${ranks[0]}` : `ranks ${ranks[0]} to ${ranks[1]}`;
  output.line(`${out}: ${lora.modules.length} modules of ${rank}`);
  output.line(`lost: ${percent(lost)} of the squared norm of the correction`);
  if (lost >= rounding) output.line(`  most in layer ${worst.layer}, ${worst.module}: ${percent(worst.lost)}`);
  output.event({ type: 'result', adapter: out, lost, worst, ranks: { least: ranks[0], most: ranks[1] } });
}

function showNotes(notes: readonly string[], output: Output): void {
  for (const note of notes) output.line(`note: ${note}`);
}

function watch(label: string, output: Output, signal: AbortSignal) {
  return { signal, onProgress: (done: number, total: number) => output.progress(label, done, total) };
}

export const convertVerb = command({
  name: 'convert',
  usage: 'IN --out OUT [--model MODEL]',
  summary: 'converts LoRA GGUF to a folder for PEFT, or back; factors keep their bits',
  options: fileOptions,
  positionals: [1, 1],
  async run({ options, positionals, output, usage }) {
    const out = required(options.out, '--out', usage);
    const { format, modules, notes } = await convertAdapter(positionals[0]!, { model: options.model, out });
    showNotes(notes, output);
    output.line(`${out}: ${count(modules)} modules, ${format === 'gguf' ? 'LoRA GGUF' : 'a PEFT adapter'}`);
    output.event({ type: 'result', adapter: out, format, modules });
  },
});

export const combineVerb = command({
  name: 'combine',
  usage: 'A[:WEIGHT] B[:WEIGHT] ... --out OUT [--rank N]',
  summary: 'adds adapters with weights and cuts the sum to a rank by SVD; scales a single one',
  options: { ...fileOptions, ...rankOption },
  positionals: [1, 100],
  async run({ options: { model, rank, ...options }, positionals, output, signal, usage }) {
    const out = required(options.out, '--out', usage);
    const result = await combineAdapters(positionals, { model, out, rank }, watch('combining', output, signal));
    if ('scaled' in result) {
      output.line(`${out}: ${result.scaled.weight} times ${result.scaled.path}`);
      output.event({ type: 'result', adapter: out, lost: 0 });
      return;
    }
    showNotes(result.notes, output);
    showRanks(result.combined, out, output);
  },
});

export const shrinkVerb = command({
  name: 'shrink',
  usage: 'IN --out OUT (--rank N | --energy SHARE)',
  summary: 'lowers the rank by SVD and shows what that loses',
  options: {
    ...fileOptions,
    ...rankOption,
    energy: number([0, 1], 'Share of the squared norm to keep of each correction, such as 0.99; ranks then differ.', {
      value: 'SHARE',
    }),
  },
  positionals: [1, 1],
  async run({ options: { model, rank, energy, ...options }, positionals, output, signal, usage }) {
    if ((rank === undefined) === (energy === undefined)) {
      const found = rank === undefined ? 'neither --rank nor --energy' : 'both --rank and --energy';
      throw new UsageError({ found, expected: usage });
    }
    const out = required(options.out, '--out', usage);
    const to = rank === undefined ? { energy: energy! } : { rank };
    const progress = watch('shrinking', output, signal);
    const { combined, notes } = await shrinkAdapter(positionals[0]!, { model, out, to }, progress);
    showNotes(notes, output);
    showRanks(combined, out, output);
  },
});

export const mergeVerb = command({
  name: 'merge',
  usage: 'ADAPTER --model MODEL --out OUT [--type TYPE]',
  summary: 'merges an adapter into the weights of its base model',
  options: {
    ...fileOptions,
    type: choice(
      ['own', 'f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q5_k', 'q5_1', 'q5_0', 'q4_k', 'q4_1', 'q4_0'],
      'Type of the matrices that change, such as f16, q8_0 or q4_0 (GGUF); own keeps the type each one has.',
      { value: 'TYPE' },
    ),
  },
  positionals: [1, 1],
  async run({ options: { model, type: chosen, ...options }, positionals, output, signal, usage }) {
    const out = required(options.out, '--out', usage);
    const type = chosen === 'own' ? undefined : (chosen as TensorTypeName);
    const progress = watch('merging', output, signal);
    const { changed, noise, notes } = await mergeAdapter(positionals[0]!, { model, out, type }, progress);
    output.line(`${out}: ${count(changed)} matrices corrected`);
    output.line(`rounding into their type moves them ${noise.toPrecision(2)} times as far as the correction does`);
    showNotes(notes, output);
    output.event({ type: 'result', model: out, changed, noise });
  },
});
