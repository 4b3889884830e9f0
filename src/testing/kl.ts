/** Mean KL divergence in nats a row between two tables of logits, [rows · vocabulary] each. */
export function meanKl(reference: Float32Array, other: Float32Array, vocabulary: number): number {
  const rows = reference.length / vocabulary;
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const p = logSoftmax(reference.subarray(row * vocabulary, (row + 1) * vocabulary));
    const q = logSoftmax(other.subarray(row * vocabulary, (row + 1) * vocabulary));
    for (let i = 0; i < vocabulary; i++) sum += Math.exp(p[i]!) * (p[i]! - q[i]!);
  }
  return sum / rows;
}

function logSoftmax(logits: Float32Array): Float64Array {
  let max = Number.NEGATIVE_INFINITY;
  for (const x of logits) max = Math.max(max, x);
  let total = 0;
  for (const x of logits) total += Math.exp(x - max);
  const shift = max + Math.log(total);
  return Float64Array.from(logits, (x) => x - shift);
}
