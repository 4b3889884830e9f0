import { stat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { Lora } from '../../../adapter/lora.js';
import { type OpenedBase, openLoraBase } from '../../../adapter/openLoraBase.js';
import { writePeft } from '../../../adapter/peft/writePeft.js';
import { writeLora } from '../../../adapter/writeLora.js';
import { resolveModel } from '../../../catalog/resolveModel.js';
import { UsageError } from '../../../util/errors.js';
import { count } from '../../../util/format.js';
import { requireWritable } from '../../../util/requireWritable.js';
import type { Output } from '../../output.js';

/** The base that --model names: also a Hugging Face folder. */
export async function openBase(model: string): Promise<OpenedBase> {
  const folder = await stat(model).catch(() => undefined);
  return await openLoraBase(folder?.isDirectory() ? resolve(model) : (await resolveModel(model)).path);
}

export const isGgufPath = (path: string): boolean => path.toLowerCase().endsWith('.gguf');

/**
 * The path of --out, checked before any work: a file that can be written, or a folder that is not there yet or is empty or whose files of
 * that kind will be replaced.
 * @param inputs paths that are read, none of which may be overwritten
 */
export async function checkOut(out: string | undefined, usage: string, inputs: readonly string[]): Promise<string> {
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
export async function writeAny(
  out: string,
  lora: Lora | Omit<Lora, 'path'>,
  base: OpenedBase,
  output: Output,
): Promise<void> {
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
