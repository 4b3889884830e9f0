import type { Factors } from './lora.js';

/** Σ weight · B·A of several corrections of one linear, exactly, at the sum of their ranks: rows of A under one another, columns of B side by side. */
export function sumFactors(terms: readonly { factors: Factors; weight: number }[]): Factors {
  const { inputs, outputs } = terms[0]!.factors;
  const rank = terms.reduce((sum, { factors }) => sum + factors.rank, 0);
  const a = new Float32Array(rank * inputs);
  const b = new Float32Array(outputs * rank);
  let at = 0;
  for (const { factors, weight } of terms) {
    if (factors.inputs !== inputs || factors.outputs !== outputs) {
      throw new RangeError(`factors of ${factors.inputs} x ${factors.outputs} and ${inputs} x ${outputs}`);
    }
    a.set(factors.a, at * inputs);
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < factors.rank; r++) b[o * rank + at + r] = weight * factors.b[o * factors.rank + r]!;
    }
    at += factors.rank;
  }
  return { inputs, outputs, rank, a, b };
}
