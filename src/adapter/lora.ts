import type { GgufValue } from '../gguf/values.js';
import type { Factors, ModuleFactors } from '../model/lora.js';

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
