import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { type Base, openAnyBase } from '../../../adapters/base.js';
import { type CombinedLora, combineLoras, scaleLora } from '../../../adapters/combine.js';
import { type Lora, maxRank } from '../../../adapters/lora.js';
import { writeLora } from '../../../adapters/loraGguf.js';
import { mergeGguf, mergeHf } from '../../../adapters/merge.js';
import { openAdapter } from '../../../adapters/openAdapter.js';
import { writePeft } from '../../../adapters/peft/peft.js';
import { LoamError, UsageError } from '../../../base/errors.js';
import { count } from '../../../base/format.js';
import { requireWritable } from '../../../base/io.js';
import type { Schema } from '../../../base/options.js';
import type { TensorTypeName } from '../../../engine/tensorTypes.js';
import { resolveModel } from '../../../models/listModels.js';
import { runOptions } from '../../../train/options.js';
import { command, jsonOption } from '../../command.js';
import type { Output } from '../../output.js';

/** The base that --model names: also a Hugging Face folder. */
async function openBase(model: string): Promise<Base> {
  const folder = await stat(model).catch(() => undefined);
  return await openAnyBase(folder?.isDirectory() ? resolve(model) : (await resolveModel(model)).path);
}

const isGgufPath = (path: string): boolean => path.toLowerCase().endsWith('.gguf');

/**
 * The path of --out, checked before any work: a file that can be written, or a folder that is not there yet or is empty or whose files of
 * that kind will be replaced.
 * @param inputs paths that are read, none of which may be overwritten
 */
async function checkOut(out: string | undefined, usage: string, inputs: readonly string[]): Promise<string> {
  if (out === undefined) throw new UsageError({ found: 'no --out', expected: usage });
  const target = resolve(out);
  for (const input of inputs) {
    const inside = relative(resolve(input), target);
    if (inside === '' || (!inside.startsWith('..') && !isAbsolute(inside))) {
      throw new UsageError({
        found: '--out lies within what is read',
        where: out,
        fix: 'choose another path with --out',
      });
    }
  }
  if (isGgufPath(out)) {
    await requireWritable(out);
    return out;
  }
  const found = await stat(out).catch(() => undefined);
  if (found && !found.isDirectory()) {
    throw new UsageError({
      found: 'this is a file whose name does not end in .gguf',
      expected: 'FILE.gguf, or a folder',
      where: out,
    });
  }
  await requireWritable(join(out, 'adapter_model.safetensors'));
  return out;
}

/** Writes an adapter in the form that the path asks for, and says what had to be done to its factors. */
async function writeAny(out: string, lora: Lora | Omit<Lora, 'path'>, base: Base, output: Output): Promise<void> {
  if (!isGgufPath(out)) {
    await writePeft(out, { path: out, ...lora }, base);
    return;
  }
  const { shifted, padded, rounded } = await writeLora(out, lora);
  const say = (n: number, what: string) => {
    if (n > 0) output.line(`note: ${count(n)} of ${count(lora.modules.length)} modules ${what}`);
  };
  say(shifted, 'have an alpha of their own; their B is multiplied by a power of two, which is exact');
  say(padded, 'have an alpha of their own; they got ranks of zeros, which is exact');
  say(
    rounded,
    'have an alpha of their own that one alpha for all cannot express; their B is multiplied and rounded to f32',
  );
}

/** Options that several verbs on adapter files have. */
const fileOptions = {
  model: {
    ...runOptions.model,
    sentence: 'Base model: a name from `loam models list`, a GGUF file, or a Hugging Face folder with its config.json.',
  },
  out: { kind: 'text', default: undefined, value: 'PATH', sentence: 'What to write: FILE.gguf, or a folder for PEFT.' },
  ...jsonOption,
} as const satisfies Schema;

const rankOption = {
  rank: {
    kind: 'integer',
    min: 1,
    max: 1024,
    default: undefined,
    value: 'N',
    sentence: 'Rank of each module at most (combine: default the largest of the adapters).',
  },
} as const satisfies Schema;

/** Less than this is the rounding of f32. */
const rounding = 1e-13;

/** Says what an adapter whose ranks were cut has become, and what that cost. */
function showRanks({ lost, worst, ranks, lora }: CombinedLora, out: string, output: Output): void {
  const percent = (share: number) => (share < rounding ? '0 %' : `${(100 * share).toPrecision(2)} %`);
  const rank = ranks[0] === ranks[1] ? `rank ${ranks[0]}` : `ranks ${ranks[0]} to ${ranks[1]}`;
  output.line(`${out}: ${lora.modules.length} modules of ${rank}`);
  output.line(`lost: ${percent(lost)} of the squared norm of the correction`);
  if (lost >= rounding) output.line(`  most in layer ${worst.layer}, ${worst.module}: ${percent(worst.lost)}`);
  output.event({ type: 'result', adapter: out, lost, worst, ranks: { least: ranks[0], most: ranks[1] } });
}

const combineUsage = 'A[:WEIGHT] B[:WEIGHT] ... --out OUT [--rank N]';

export const combineVerb = command({
  name: 'combine',
  usage: combineUsage,
  summary: 'weighted sum, cut to a rank by SVD; one alone is scaled',
  options: { ...fileOptions, ...rankOption },
  positionals: [1, 100],
  async run({ options, positionals, output, signal }) {
    const terms = await Promise.all(positionals.map(parseTerm));
    const paths = terms.map(({ path }) => path);
    const out = await checkOut(options.out, `loam adapters combine ${combineUsage}`, paths);
    const base = await openBase(options.model);
    const read: { lora: Lora; weight: number }[] = [];
    for (const { path, weight } of terms) read.push({ lora: await openAdapter(path, base), weight });
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

const convertUsage = 'IN --out OUT [--model MODEL]';

export const convertVerb = command({
  name: 'convert',
  usage: convertUsage,
  summary: 'LoRA GGUF to a folder for PEFT, or back; factors keep their bits',
  options: fileOptions,
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    const input = positionals[0]!;
    const out = await checkOut(options.out, `loam adapters convert ${convertUsage}`, [input]);
    const base = await openBase(options.model);
    const lora = await openAdapter(input, base);
    const peft = lora.format === 'peft';
    if (peft !== isGgufPath(out)) {
      throw new UsageError({
        found: peft ? 'an --out that does not end in .gguf' : 'an --out that ends in .gguf',
        expected: peft
          ? 'FILE.gguf, because the adapter is one of PEFT'
          : 'a folder, because the adapter is a GGUF file',
        where: out,
      });
    }
    await writeAny(out, lora, base, output);
    output.line(`${out}: ${count(lora.modules.length)} modules, ${peft ? 'LoRA GGUF' : 'an adapter of PEFT'}`);
    output.event({ type: 'result', adapter: out, format: peft ? 'gguf' : 'peft', modules: lora.modules.length });
  },
});

const mergeUsage = 'ADAPTER --model MODEL --out OUT [--type TYPE]';

export const mergeVerb = command({
  name: 'merge',
  usage: mergeUsage,
  summary: 'the base model with the adapter in its weights',
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
    const out = await checkOut(options.out, `loam adapters merge ${mergeUsage}`, read);
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
    const lora = await openAdapter(adapter, base);
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

const shrinkUsage = 'IN --out OUT (--rank N | --energy SHARE)';

export const shrinkVerb = command({
  name: 'shrink',
  usage: shrinkUsage,
  summary: 'a lower rank by SVD, and what that loses',
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
        expected: `loam adapters shrink ${shrinkUsage}`,
      });
    }
    const out = await checkOut(options.out, `loam adapters shrink ${shrinkUsage}`, [input]);
    const base = await openBase(options.model);
    const lora = await openAdapter(input, base);
    const cut = await combineLoras([{ lora, weight: 1 }], {
      to: rank === undefined ? { energy: energy! } : { rank },
      onProgress: (done, total) => output.progress('shrinking', done, total),
      signal,
    });
    await writeAny(out, cut.lora, base, output);
    showRanks(cut, out, output);
  },
});
