import { LoamError } from '../base/errors.js';
import type { Factors } from '../model/factors.js';
import { type LoraModule, maxRank } from './lora.js';

/**
 * One alpha for all modules of an adapter, which is what a LoRA GGUF has, out of the alphas of their own that PEFT's modules may have, and
 * back: without rounding wherever there is a way.
 */

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
  if (wrong)
    throw new LoamError({ code: 'damaged', found: `an alpha of ${wrong.alpha}`, expected: 'a number above 0' });
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

/** The first `rank` ranks if the others are zeros; otherwise undefined. */
export function unpadded({ inputs, outputs, rank: old, a, b }: Factors, rank: number): Factors | undefined {
  if (rank > old || a.subarray(rank * inputs).some((x) => x !== 0)) return undefined;
  const narrow = new Float32Array(outputs * rank);
  for (let o = 0; o < outputs; o++) {
    if (b.subarray(o * old + rank, (o + 1) * old).some((x) => x !== 0)) return undefined;
    narrow.set(b.subarray(o * old, o * old + rank), o * rank);
  }
  return { inputs, outputs, rank, a: a.slice(0, rank * inputs), b: narrow };
}
