/** Seeded randomness. Every draw is a pure function of (seed, stream, counter), so a resumed run repeats an uninterrupted one. */

/** 32-bit mixer (the finaliser of MurmurHash3, Appleby 2011). */
function mix(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Uniform 32-bit integer for the given words, e.g. `hash32(seed, step, index)`. */
export function hash32(...words: number[]): number {
  let h = 0x9e3779b9;
  for (const word of words) h = mix((Math.imul(h, 31) ^ mix(word >>> 0)) + 0x7f4a7c15);
  return h;
}

/** A sequence of draws for one (seed, stream) pair. */
export class Random {
  private counter = 0;
  constructor(
    readonly seed: number,
    readonly stream = 0,
  ) {}

  /** Uniform in [0, 1). */
  uniform(): number {
    return hash32(this.seed, this.stream, this.counter++) / 0x1_0000_0000;
  }

  /** Uniform integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Standard normal (Box and Muller 1958). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** A shuffled copy (Fisher and Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j]!, out[i]!];
    }
    return out;
  }
}
