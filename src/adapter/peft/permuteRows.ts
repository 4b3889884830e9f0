import type { LayerLinear } from '../../model/architecture.js';
import type { Factors } from '../../model/lora.js';
import type { LoraBase } from '../LoraBase.js';

/**
 * Where row `i` of a query or key projection of Hugging Face's Llama stands in GGUF. Hugging Face pairs dimension k of a head with
 * k + headDim/2 in its rotation, llama.cpp 2k with 2k + 1, so its converter interleaves the two halves (conversion/llama.py, `permute`).
 */
function ggufRow(i: number, headDim: number): number {
  const half = headDim / 2;
  const within = i % headDim;
  return i - within + 2 * (within % half) + Math.floor(within / half);
}

/** Architectures whose query and key rows the converter reorders. */
const permuted: ReadonlySet<string> = new Set(['llama']);

/** Heads among the rows of a projection, or 0 where its rows stand in the same order in both. */
function headsOf(base: LoraBase, module: LayerLinear): number {
  if (!permuted.has(base.architecture)) return 0;
  return module === 'attn_q' ? base.heads : module === 'attn_k' ? base.kvHeads : 0;
}

/** Rows of `width` values each, from Hugging Face's order into that of GGUF, or back. A fresh array where anything changes. */
export function permuteRows<T extends Float32Array>(
  rows: T,
  width: number,
  base: LoraBase,
  module: LayerLinear,
  direction: 'toGguf' | 'toHf',
): T {
  const heads = headsOf(base, module);
  if (heads === 0) return rows;
  const count = rows.length / width;
  const headDim = count / heads;
  const out = rows.slice() as T;
  for (let i = 0; i < count; i++) {
    const at = ggufRow(i, headDim);
    const [from, to] = direction === 'toGguf' ? [i, at] : [at, i];
    out.set(rows.subarray(from * width, (from + 1) * width), to * width);
  }
  return out;
}

/** The same for a low-rank correction: only B has the outputs as rows. */
export function permuteFactors(
  factors: Factors,
  base: LoraBase,
  module: LayerLinear,
  direction: 'toGguf' | 'toHf',
): Factors {
  return { ...factors, b: permuteRows(factors.b, factors.rank, base, module, direction) };
}
