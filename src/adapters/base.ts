import { stat } from 'node:fs/promises';
import { LoamError } from '../base/errors.js';
import type { Family, Sizes } from '../families/family.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { type Hyperparameters, readHyperparameters } from '../model/hyperparameters.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { fingerprints } from './fingerprint.js';
import { hfBase } from './peft/names.js';

/** The base model of an adapter: what must be known of it, without its weights, to read, check and convert an adapter of it. */
export interface LoraBase extends Sizes {
  /** Where this is known from, for errors. */
  readonly path: string;
  readonly family: Family;
  /** Whether it is the text model of one that also sees; absent where that is not known. */
  readonly sees?: boolean;
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
  /** `fingerprints`, hex: of the whole. */
  fingerprint: string;
  /** The others; absent in adapters of older versions. */
  parts?: { weights: string; vocabulary: string };
  /** sha256 of the chat template the adapter learnt under, hex. */
  templateSha256: string;
  /** `Tokenizer.sample` under it, hex; absent in adapters of older versions. */
  sample?: string;
  /** The day that the template wrote into what was learnt, as YYYY-MM-DD; absent if it writes none. */
  templateDay?: string;
  /** What the template is to be told: `false` where answers come without a thought, `true` where they have one that it leaves out otherwise. */
  thinking?: boolean | undefined;
}

/**
 * Whether an adapter learnt under another chat template than this one: under it it answers rubbish. One that comes to the same tokens is
 * none, nor is that of an adapter whose file does not say which it was, as those of other tools.
 */
export async function differsInTemplate({ base }: { base: BaseIdentity }, tokenizer: Tokenizer): Promise<boolean> {
  if (base.templateSha256 === '') return false;
  if (base.sample !== undefined) return base.sample !== (await tokenizer.sample());
  return base.templateSha256 !== tokenizer.template.hash;
}

/** @throws LoamError (mismatch) where `differsInTemplate` */
export async function requireTemplate(
  adapter: { path: string; base: BaseIdentity },
  tokenizer: Tokenizer,
): Promise<void> {
  if (!(await differsInTemplate(adapter, tokenizer))) return;
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
  const { whole, ...parts } = await fingerprints(gguf);
  return {
    architecture: gguf.string('general.architecture'),
    name: gguf.string('general.name', ''),
    sha256,
    fingerprint: whole,
    parts,
    templateSha256: template.hash,
    sample: await tokenizer.sample(),
    templateDay: tokenizer.day,
    thinking: tokenizer.isThoughtless ? false : tokenizer.asksForThoughts || undefined,
    stopTokens: Array.from({ length: vocabulary.size }, (_, token) => token).filter((t) =>
      vocabulary.endsGeneration(t),
    ),
  };
}
