/** bfloat16, the upper half of binary32: exact one way, to the nearest (ties to even) the other. */

/** Exact. */
export function bfloatsToFloats(values: Uint16Array): Float32Array {
  const bits = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = values[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** To the nearest bfloat16, ties to even; what rounds beyond its range becomes infinite. NaN stays NaN, quiet, with its sign. */
export function floatsToBfloats(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    // Rounding could carry the payload of a NaN away, or into the sign.
    out[i] = (x & 0x7fffffff) > 0x7f800000 ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
  return out;
}
