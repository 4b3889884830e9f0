import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { LoamError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import type { LayerLinear } from '../families/family.js';
import { type Gguf, type GgufValue, openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import type { Factors, ModuleFactors } from '../model/factors.js';
import { type Hyperparameters, linearShape, readHyperparameters } from '../model/hyperparameters.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { hfBase } from './peft/names.js';
import type { AdapterToWrite } from './writeAdapter.js';

/** The correction of one linear as a file holds it: ΔW = alpha/rank · B·A, rows of B in the order of the GGUF model's outputs. */
export interface LoraModule extends ModuleFactors {
  readonly alpha: number;
}

/** A LoRA adapter as its file holds it, no scale folded into its factors: what conversions pass on without changing a bit. */
export interface Lora {
  /** File or folder. */
  readonly path: string;
  /** `general.architecture`. */
  readonly architecture: string;
  readonly modules: readonly LoraModule[];
  /** Metadata beyond what LoRA itself needs, to be passed on: names, Loam's own keys. */
  readonly notes: ReadonlyMap<string, GgufValue>;
}

/** Factors with their scale folded into B, in f32. */
export function foldAlpha({ factors, alpha }: LoraModule): Factors {
  const scale = alpha / factors.rank;
  return scale === 1 ? factors : { ...factors, b: factors.b.map((x) => x * scale) };
}

/** Largest rank accepted: an adapter of a higher one is no longer small, and its memory would surprise. */
export const maxRank = 1024;

/** What an adapter says about its base model. Empty strings where the file does not say. */
export interface BaseIdentity {
  architecture: string;
  name: string;
  /** sha256 of the model file, hex. */
  sha256: string;
  /** `baseFingerprint`, hex. */
  fingerprint: string;
  /** sha256 of the chat template the adapter learnt under, hex. */
  templateSha256: string;
}

/** Keys that Loam adds to an adapter's metadata. Adapters of other tools lack them. */
export const keys = {
  version: 'loam.version',
  baseName: 'loam.base.name',
  baseSha256: 'loam.base.sha256',
  baseFingerprint: 'loam.base.fingerprint',
  templateSha256: 'loam.chat_template.sha256',
  stopTokens: 'loam.stop_tokens',
  recipe: 'loam.recipe',
  metrics: 'loam.metrics',
} as const;

/** Throws the mismatches between an adapter and its base as one error; nothing where there are none. */
export function throwProblems(path: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new LoamError({
    found: `this adapter does not fit the base model: ${listFirst(problems)}`,
    where: path,
    fix: 'choose the base model it was made for with --model, or fetch the adapter again',
  });
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

/** What an adapter file says about its base model. @param sha256 of the model's file, hex */
export async function describeBase(
  gguf: Gguf,
  tokenizer: Tokenizer,
  sha256: string,
): Promise<Pick<AdapterToWrite, 'base' | 'stopTokens'>> {
  return {
    base: {
      architecture: gguf.string('general.architecture'),
      name: gguf.string('general.name', ''),
      sha256,
      fingerprint: await baseFingerprint(gguf),
      templateSha256: tokenizer.template.hash,
    },
    stopTokens: stopTokens(tokenizer),
  };
}

/** Every token at which generation ends: what a program that uses the adapter should stop at. */
function stopTokens({ vocabulary }: Tokenizer): number[] {
  const tokens: number[] = [];
  for (let token = 0; token < vocabulary.size; token++) if (vocabulary.endsGeneration(token)) tokens.push(token);
  return tokens;
}

/** What must be known of a base model to read, check and convert an adapter of it. */
export interface LoraBase {
  /** Where this is known from, for errors. */
  readonly path: string;
  readonly architecture: string;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** ggml order: [inputs, outputs]. */
  shape(module: LayerLinear): readonly [number, number];
}

/** A base known from its GGUF file. */
export function ggufBase(path: string, hyper: Hyperparameters): LoraBase {
  return {
    path,
    architecture: hyper.architecture.name,
    layers: hyper.layers,
    heads: hyper.heads,
    kvHeads: hyper.kvHeads,
    shape: (module) => linearShape(hyper, module),
  };
}

/** A base model that adapters are read against: of a GGUF file, or of a Hugging Face folder, of which only config.json is read. */
export interface OpenedBase extends LoraBase {
  /** Of a GGUF file. */
  readonly gguf?: Gguf;
}

/** @throws LoamError where there is no model, UnsupportedError for a family that Loam does not know */
export async function openLoraBase(path: string): Promise<OpenedBase> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return await hfBase(path);
  const gguf = await readGguf(path);
  return { ...ggufBase(path, readHyperparameters(gguf)), gguf };
}

export interface OneAlpha {
  alpha: number;
  modules: LoraModule[];
  /** Modules whose B was multiplied by a power of two, and those that got ranks of zeros: both change no product. */
  shifted: number;
  padded: number;
  /** Modules whose B was multiplied by another number and rounded to f32 (at most 6e-8 of each value). */
  rounded: number;
}

/** Scales closer than f32 tells apart are the same: alpha is stored as f32, and √rank is no short number. */
const sameScale = 2 ** -22;

/**
 * Modules with one alpha for all, which is what a LoRA GGUF has beside each module's rank. An alpha of its own is expressed without
 * rounding wherever there is a way: as it is, as a power of two in B, or by ranks of zeros, since alpha is divided by the rank.
 * @throws LoamError for alphas that are not numbers above 0
 */
export function oneAlpha(modules: readonly LoraModule[]): OneAlpha {
  const wrong = modules.find(({ alpha }) => !(alpha > 0) || !Number.isFinite(alpha));
  if (wrong) throw new LoamError({ found: `an alpha of ${wrong.alpha}`, expected: 'a number above 0' });
  // The largest, so that the others are at most it and their ranks can be stretched.
  const alpha = modules.reduce((max, module) => Math.max(max, module.alpha), 0);
  const result: OneAlpha = { alpha, modules: [], shifted: 0, padded: 0, rounded: 0 };
  for (const module of modules) {
    const { factors } = module;
    const share = snapped(module.alpha / alpha);
    let changed = factors;
    if (share !== 1) {
      const rank = Math.round(factors.rank / share);
      if (Number.isInteger(Math.log2(share)) && survives(factors.b, share)) {
        changed = scaled(factors, share);
        result.shifted++;
      } else if (Math.abs(rank * share - factors.rank) <= sameScale * factors.rank && rank <= maxRank) {
        changed = padded(factors, rank);
        result.padded++;
      } else {
        changed = scaled(factors, share);
        result.rounded++;
      }
    }
    result.modules.push({ ...module, factors: changed, alpha });
  }
  return result;
}

/** A factor without the noise of its computation: powers of two, 1 among them, exactly. */
export function snapped(factor: number): number {
  const power = 2 ** Math.round(Math.log2(factor));
  return Math.abs(factor / power - 1) <= sameScale ? power : factor;
}

export function scaled(factors: Factors, by: number): Factors {
  return by === 1 ? factors : { ...factors, b: factors.b.map((x) => x * by) };
}

/** Whether no value loses bits to the end of f32's range. */
function survives(values: Float32Array, by: number): boolean {
  return values.every((x) => Math.fround(x * by) / by === x);
}

function padded({ inputs, outputs, rank: old, a, b }: Factors, rank: number): Factors {
  const wideA = new Float32Array(rank * inputs);
  wideA.set(a);
  const wideB = new Float32Array(outputs * rank);
  for (let o = 0; o < outputs; o++) wideB.set(b.subarray(o * old, (o + 1) * old), o * rank);
  return { inputs, outputs, rank, a: wideA, b: wideB };
}

/** The first `rank` ranks where the others are zeros; undefined where they are not. */
export function unpadded({ inputs, outputs, rank: old, a, b }: Factors, rank: number): Factors | undefined {
  if (rank > old || a.subarray(rank * inputs).some((x) => x !== 0)) return undefined;
  const narrow = new Float32Array(outputs * rank);
  for (let o = 0; o < outputs; o++) {
    if (b.subarray(o * old + rank, (o + 1) * old).some((x) => x !== 0)) return undefined;
    narrow.set(b.subarray(o * old, o * old + rank), o * rank);
  }
  return { inputs, outputs, rank, a: a.slice(0, rank * inputs), b: narrow };
}
