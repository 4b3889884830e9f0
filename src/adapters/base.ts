import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { LoamError } from '../base/errors.js';
import type { Family, Sizes } from '../families/family.js';
import { type Gguf, openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { type Hyperparameters, readHyperparameters } from '../model/hyperparameters.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { keys, type Notes, textNote } from './lora.js';
import { hfBase } from './peft/names.js';

/** The base model of an adapter: what must be known of it, without its weights, to read, check and convert an adapter of it. */
export interface LoraBase extends Sizes {
  /** Where this is known from, for errors. */
  readonly path: string;
  readonly family: Family;
}

/** A base in a GGUF file, or in a Hugging Face folder, of which only config.json is read. */
export interface Base extends LoraBase {
  /** Of a GGUF file. */
  readonly gguf?: Gguf;
}

/** A base in a GGUF file, which is the only kind that computes. */
export interface GgufBase extends LoraBase {
  readonly gguf: Gguf;
  readonly hyper: Hyperparameters;
}

/** Reads and checks what a GGUF file says of its model. @throws LoamError, UnsupportedError for a family that Loam does not know */
export async function openBase(path: string): Promise<GgufBase> {
  const gguf = await readGguf(path);
  return ggufBase({ gguf, hyper: readHyperparameters(gguf) });
}

/** The same, also for a Hugging Face folder. */
export async function openAnyBase(path: string): Promise<Base> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() ? await hfBase(path) : await openBase(path);
}

/** The base that an opened `Model` is. */
export function ggufBase({ gguf, hyper }: { gguf: Gguf; hyper: Hyperparameters }): GgufBase {
  return { ...hyper, path: gguf.path, gguf, hyper };
}

/** What an adapter says about its base model. Empty strings if the file does not say. */
export interface BaseIdentity {
  architecture: string;
  name: string;
  /** sha256 of the model file, hex. */
  sha256: string;
  /** `baseFingerprint`, hex. */
  fingerprint: string;
  /** sha256 of the chat template the adapter learnt under, hex. */
  templateSha256: string;
  /** The day that the template wrote into what was learnt, as YYYY-MM-DD; absent if it writes none. */
  templateDay?: string;
  /** Whether its answers come without a thought, though the template knows thoughts. */
  thoughtless?: boolean;
}

/**
 * Identity of a base model that survives quantisation: sha256 over its architecture, its tokens, and its norm weights, which every
 * quantiser leaves in f32. Two quantisations of one model agree, a fine-tune of it does not.
 * @returns hex
 */
export async function baseFingerprint(gguf: Gguf): Promise<string> {
  const hash = createHash('sha256');
  hash.update(`${gguf.string('general.architecture')}\n`);
  for (const token of gguf.strings('tokenizer.ggml.tokens', [])) hash.update(`${token}\n`);
  await using file = await openTensors(gguf);
  // By name, because writers order tensors differently.
  for (const name of [...gguf.tensors.keys()].sort()) {
    const tensor = gguf.tensors.get(name)!;
    if (!name.endsWith('norm.weight') || tensor.shape.length !== 1 || tensor.type.name !== 'f32') continue;
    hash.update(`${name}\n`);
    hash.update(await file.read(name));
  }
  return hash.digest('hex');
}

/** @throws LoamError if an adapter's notes say that it was made for another model */
export async function requireMadeFor(path: string, notes: Notes, { gguf }: Base): Promise<void> {
  const fingerprint = textNote(notes, keys.baseFingerprint);
  if (!fingerprint || !gguf || fingerprint === (await baseFingerprint(gguf))) return;
  const name = textNote(notes, keys.baseName);
  throw new LoamError({
    code: 'mismatch',
    found: `an adapter made for another base model${name ? ` (${name})` : ''}`,
    expected: `one for ${gguf.path}`,
    where: path,
    fix: 'choose the base model it was made for with --model',
  });
}

/**
 * An adapter answers rubbish under another chat template than the one it learnt under.
 * @param adapter one whose file may not say which that was, as those of other tools
 * @throws LoamError (mismatch)
 */
export function requireTemplate(adapter: { path: string; base: BaseIdentity }, tokenizer: Tokenizer): void {
  const { templateSha256 } = adapter.base;
  if (templateSha256 === '' || templateSha256 === tokenizer.template.hash) return;
  throw new LoamError({
    code: 'mismatch',
    found: 'an adapter that learnt under another chat template than this model file has',
    where: adapter.path,
    fix: 'use the model file that it was made with, or tune again with this one',
  });
}

/**
 * What an adapter file says about its base model, with every token at which generation ends: what a program that uses it should stop at.
 * @param sha256 of the model's file, hex
 */
export async function describeBase(
  gguf: Gguf,
  tokenizer: Tokenizer,
  sha256: string,
): Promise<BaseIdentity & { stopTokens: readonly number[] }> {
  const { vocabulary, template } = tokenizer;
  return {
    architecture: gguf.string('general.architecture'),
    name: gguf.string('general.name', ''),
    sha256,
    fingerprint: await baseFingerprint(gguf),
    templateSha256: template.hash,
    templateDay: tokenizer.day,
    thoughtless: tokenizer.isThoughtless,
    stopTokens: Array.from({ length: vocabulary.size }, (_, token) => token).filter((t) =>
      vocabulary.endsGeneration(t),
    ),
  };
}
