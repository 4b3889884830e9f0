import type { Factors } from '../model/lora.js';

/**
 * Adds rows of ΔW = B·A to rows of a weight, in f32 as a LoRA is computed beside its weight.
 * @param rows `count` rows of the weight, from row `from` on; changed in place
 * @returns Σ of the squares that were added
 */
export function correctRows(rows: Float32Array, from: number, count: number, { inputs, rank, a, b }: Factors): number {
  const delta = new Float32Array(inputs);
  let squares = 0;
  for (let o = 0; o < count; o++) {
    delta.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = b[(from + o) * rank + r]!;
      if (factor === 0) continue;
      const at = r * inputs;
      for (let i = 0; i < inputs; i++) delta[i]! += factor * a[at + i]!;
    }
    const row = o * inputs;
    for (let i = 0; i < inputs; i++) {
      const x = delta[i]!;
      rows[row + i]! += x;
      squares += x * x;
    }
  }
  return squares;
}
