import { native } from './native.js';

/** Rounds f32 values to f16 (IEEE binary16, nearest even) natively; beyond its range they become infinite. */
export function toHalf(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  if (values.length > 0) native().ggml.fp32ToFp16Row(values, out, values.length);
  return out;
}
