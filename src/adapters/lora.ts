import { LoamError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import type { GgufValue } from '../formats/gguf/values.js';
import { type Factors, factorsProblem, type ModuleFactors } from '../model/factors.js';

/** The correction of one linear as a file holds it: ΔW = alpha/rank · B·A, rows of B in the order of the GGUF model's outputs. */
export interface LoraModule extends ModuleFactors {
  readonly alpha: number;
}

/** Metadata of an adapter beyond what LoRA itself needs, to be passed on: names, Loam's own keys. */
export type Notes = ReadonlyMap<string, GgufValue>;

/** A LoRA adapter as its file holds it, no scale folded into its factors: what conversions pass on without changing a bit. */
export interface Lora {
  /** File or folder. */
  readonly path: string;
  /** `general.architecture`. */
  readonly architecture: string;
  readonly modules: readonly LoraModule[];
  readonly notes: Notes;
}

/** What makes a module useless to any program, its scale included; undefined if nothing does. */
const moduleProblem = ({ factors, alpha }: Pick<LoraModule, 'factors' | 'alpha'>): string | undefined =>
  factorsProblem(factors, alpha / factors.rank);

/** @throws LoamError for modules whose factors or scale leave the range of f32, before anything is computed with them or written */
export function requireUsable(where: string, modules: readonly LoraModule[]): void {
  const problems = modules.flatMap((one) => {
    const problem = moduleProblem(one);
    return problem === undefined ? [] : [`blk.${one.layer}.${one.module}.weight ${problem}`];
  });
  if (problems.length === 0) return;
  throw new LoamError({
    code: 'damaged',
    found: `an adapter of which ${listFirst(problems)}`,
    where,
    fix: 'fetch the adapter again, or use a smaller weight where one is given',
  });
}

/**
 * Factors with their scale folded into B, in f32.
 * @throws LoamError where the product leaves the range of f32
 */
export function foldAlpha({ factors, alpha }: Pick<LoraModule, 'factors' | 'alpha'>): Factors {
  const scale = alpha / factors.rank;
  const problem = factorsProblem(factors, scale);
  if (problem !== undefined) throw new LoamError({ code: 'damaged', found: `an adapter that ${problem}` });
  return scale === 1 ? factors : { ...factors, b: factors.b.map((x) => x * scale) };
}

/** What the adapter adds to each linear, its scale folded in. */
export function corrections({ modules }: Pick<Lora, 'modules'>): ModuleFactors[] {
  return modules.map((module) => ({ layer: module.layer, module: module.module, factors: foldAlpha(module) }));
}

/** Largest rank accepted: an adapter of a higher one is no longer small, and its memory would surprise. */
export const maxRank = 1024;

/** Keys that Loam adds to an adapter's metadata. Adapters of other tools lack them. */
export const keys = {
  version: 'loam.version',
  baseName: 'loam.base.name',
  baseSha256: 'loam.base.sha256',
  baseFingerprint: 'loam.base.fingerprint',
  baseWeights: 'loam.base.weights_fingerprint',
  baseVocabulary: 'loam.base.vocabulary_fingerprint',
  templateSha256: 'loam.chat_template.sha256',
  templateSample: 'loam.chat_template.sample_sha256',
  templateDay: 'loam.chat_template.day',
  thinking: 'loam.chat_template.thinking',
  stopTokens: 'loam.stop_tokens',
  recipe: 'loam.recipe',
  metrics: 'loam.metrics',
  subject: 'loam.subject',
} as const;

/** The text of a note; undefined if there is none. */
export function textNote(notes: Notes, key: string): string | undefined {
  const note = notes.get(key);
  return note?.type === 'string' ? note.value : undefined;
}

/**
 * Throws the mismatches between an adapter and its base as one error; nothing if there are none.
 * @param isBeyond whether it holds what Loam cannot express: fetching it again would not help
 */
export function throwProblems(path: string, problems: readonly string[], isBeyond = false): void {
  if (problems.length === 0) return;
  throw new LoamError({
    code: isBeyond ? 'unsupported' : 'mismatch',
    found: `this adapter ${isBeyond ? 'does more than a LoRA of Loam can' : 'does not fit the base model'}: ${listFirst(problems)}`,
    where: path,
    fix: isBeyond
      ? 'merge it into its base with the tool that made it, and convert that model with loam convert'
      : 'choose the base model it was made for with --model, or fetch the adapter again',
  });
}
