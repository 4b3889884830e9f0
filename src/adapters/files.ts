import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { LoamError, UsageError } from '../base/errors.js';
import { count, listFirst } from '../base/format.js';
import { requireWritable } from '../base/io.js';
import type { TensorTypeName } from '../engine/tensorTypes.js';
import { readHfFolder } from '../models/convert/hfFolder.js';
import { readSpecialTokens } from '../models/convert/tokenizer/specialTokens.js';
import { resolveModel } from '../models/listModels.js';
import { type Base, type BaseIdentity, openAnyBase } from './base.js';
import { type CombinedLora, combineLoras, scaleLora } from './combine.js';
import { type Lora, maxRank } from './lora.js';
import { writeLora } from './loraGguf.js';
import { type Merged, type MergeOptions, mergeGguf, mergeHf } from './merge.js';
import { type Adapter, openAdapter } from './openAdapter.js';
import { writePeft } from './peft/peft.js';

/**
 * Adapters from file to file: other formats, sums, lower ranks, merging into the base. What is written is what the path of `out` says:
 * FILE.gguf or a folder. Paths are checked before any work, and nothing that is read can be overwritten.
 */

interface Target {
  /** The base model: a name from the catalogue, a GGUF file, or a Hugging Face folder with its config.json. */
  model: string;
  out: string;
}

/** How an operation is watched and stopped. */
type Watch = Pick<MergeOptions, 'onProgress' | 'signal'>;

/** LoRA GGUF to a folder for PEFT, or back, also from a folder of mlx-lm; factors keep their bits. `notes` are sentences on what had to be done to them. */
export async function convertAdapter(
  input: string,
  target: Target,
): Promise<{ format: 'gguf' | 'peft'; modules: number; notes: string[] }> {
  const out = await checkOut(target.out, [input]);
  const base = await openBase(target.model);
  const lora = await openAdapter(input, base);
  const fromFolder = lora.format !== 'gguf';
  if (fromFolder !== isGgufPath(out)) {
    throw new UsageError({
      found: fromFolder ? 'an --out that does not end in .gguf' : 'an --out that ends in .gguf',
      expected: fromFolder
        ? 'FILE.gguf, because the adapter is a folder'
        : 'a folder, because the adapter is a GGUF file',
      where: out,
    });
  }
  return { format: fromFolder ? 'gguf' : 'peft', modules: lora.modules.length, notes: await write(out, lora, base) };
}

/**
 * The weighted sum of adapters, cut to a rank by SVD: the largest of theirs unless another is given. One alone, without a rank, is
 * scaled and loses nothing.
 * @param terms "a.gguf", "a.gguf:0.5"
 */
export async function combineAdapters(
  terms: readonly string[],
  target: Target & { rank: number | undefined },
  watch: Watch,
): Promise<{ scaled: Term } | { combined: CombinedLora; notes: string[] }> {
  const parsed = await Promise.all(terms.map(parseTerm));
  const paths = parsed.map(({ path }) => path);
  const out = await checkOut(target.out, paths);
  const base = await openBase(target.model);
  const read: { lora: Adapter; weight: number }[] = [];
  for (const { path, weight } of parsed) read.push({ lora: await openAdapter(path, base), weight });
  if (read.length === 1 && target.rank === undefined) {
    await write(out, scaleLora(read[0]!.lora, read[0]!.weight), base);
    return { scaled: parsed[0]! };
  }
  const largest = Math.max(...read.flatMap(({ lora }) => lora.modules.map(({ factors }) => factors.rank)));
  const combined = await combineLoras(read, { to: { rank: Math.min(maxRank, target.rank ?? largest) }, ...watch });
  const notes = await write(out, combined.lora, base);
  // Where both say what their template comes to, that counts.
  const templates = read.map(({ lora }) => lora.base).filter(({ templateSha256 }) => templateSha256 !== '');
  const [first] = templates;
  const same = (one: BaseIdentity) =>
    one.sample !== undefined && first!.sample !== undefined
      ? one.sample === first!.sample
      : one.templateSha256 === first!.templateSha256;
  if (!templates.every(same))
    notes.push(
      'they learnt under different chat templates: the sum names that of the first, under which the others are not right',
    );
  return { combined, notes };
}

/** A lower rank by SVD. @param to the rank, or the share of the squared norm of each correction to keep */
export async function shrinkAdapter(
  input: string,
  target: Target & { to: { rank: number } | { energy: number } },
  watch: Watch,
): Promise<{ combined: CombinedLora; notes: string[] }> {
  const out = await checkOut(target.out, [input]);
  const base = await openBase(target.model);
  const terms = [{ lora: await openAdapter(input, base), weight: 1 }];
  const combined = await combineLoras(terms, { to: target.to, ...watch });
  return { combined, notes: await write(out, combined.lora, base) };
}

/** More than this share of the correction's own norm is a rounding that a finer type would spare. */
const coarse = 0.5;

/** The base model with an adapter in its weights; of a Hugging Face folder a folder. @param type of the matrices that change, in GGUF */
export async function mergeAdapter(
  adapter: string,
  target: Target & { type: TensorTypeName | undefined },
  watch: Watch,
): Promise<Merged & { notes: string[] }> {
  const { type } = target;
  const base = await openBase(target.model);
  const folder = base.gguf ? undefined : dirname(base.path);
  const out = await checkOut(target.out, [adapter, folder ?? base.path]);
  if (isGgufPath(out) !== (folder === undefined)) {
    throw new LoamError({
      code: 'mismatch',
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
  if (folder && type !== undefined) {
    throw new UsageError({ found: '--type with a Hugging Face folder', expected: 'none: each matrix keeps its type' });
  }
  const lora = await openAdapter(adapter, base);
  const merged = base.gguf
    ? await mergeGguf(base.gguf, lora, out, { type, ...watch })
    : await mergeHf(folder!, base, lora, out, watch);
  const notes: string[] = [];
  if (merged.noise > coarse && type === undefined && base.gguf)
    notes.push('--type q8_0 or f16 keeps more of the correction');
  const left = merged.left ?? [];
  if (left.length > 0)
    notes.push(`not carried on, as no part of what Loam reads of a model: ${listFirst(left, 5, ', ')}`);
  const learnt = lora.base.templateSha256;
  const template = await templateOf(base, folder);
  if (learnt !== '' && template !== undefined && learnt !== sha256(template)) {
    notes.push(
      'the adapter learnt under another chat template than this model has: merged it is only right under that one',
    );
  }
  return { ...merged, notes };
}

/** The chat template of a model; undefined where it has none of its own. */
async function templateOf({ gguf }: Base, folder: string | undefined): Promise<string | undefined> {
  if (gguf) return gguf.string('tokenizer.chat_template', undefined);
  const { chatTemplate } = readSpecialTokens(await readHfFolder(folder!), false);
  if (typeof chatTemplate === 'string') return chatTemplate;
  return chatTemplate?.find(({ name }) => name === 'default')?.template;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

async function openBase(model: string): Promise<Base> {
  const folder = await stat(model).catch(() => undefined);
  return await openAnyBase(folder?.isDirectory() ? resolve(model) : (await resolveModel(model)).path);
}

const isGgufPath = (path: string): boolean => path.toLowerCase().endsWith('.gguf');

/**
 * A file that can be written, or a folder that is not there yet, or is empty, or whose files of that kind will be replaced.
 * @param inputs paths that are read
 */
async function checkOut(out: string, inputs: readonly string[]): Promise<string> {
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

/** @returns sentences on what had to be done to the factors */
async function write(out: string, lora: Omit<Lora, 'path'>, base: Base): Promise<string[]> {
  if (!isGgufPath(out)) {
    await writePeft(out, { path: out, ...lora }, base);
    return [];
  }
  const { shifted, padded, rounded } = await writeLora(out, lora);
  const own = 'have an alpha of their own';
  const said: [number, string][] = [
    [shifted, `${own}; their B is multiplied by a power of two, which is exact`],
    [padded, `${own}; they got ranks of zeros, which is exact`],
    [rounded, `${own} that one alpha for all cannot express; their B is multiplied and rounded to f32`],
  ];
  const modules = count(lora.modules.length);
  return said.filter(([n]) => n > 0).map(([n, what]) => `${count(n)} of ${modules} modules ${what}`);
}

interface Term {
  path: string;
  weight: number;
}

/** "a.gguf:0.5"; a path may itself hold a colon. */
async function parseTerm(text: string): Promise<Term> {
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
