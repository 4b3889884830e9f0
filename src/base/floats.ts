/** IEEE 754 binary16 and binary32, in bits: exact one way, to the nearest (ties to even) the other. */

/** IEEE 754 binary16 to a number. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Bits of the f32 that each half stands for; made at the first use, 256 KiB. */
let table: Uint32Array | undefined;

function tableOfBits(): Uint32Array {
  const bits = new Uint32Array(new Float32Array(65536).map((_, half) => halfToFloat(half)).buffer);
  // JavaScript may change the bits of a NaN: sign and payload are set here.
  for (let half = 0; half < 65536; half++) {
    if ((half & 0x7c00) === 0x7c00) bits[half] = ((half & 0x8000) << 16) | 0x7f800000 | ((half & 0x3ff) << 13);
  }
  return bits;
}

/** Exact, the sign and payload of NaN included. */
export function halvesToFloats(halves: Uint16Array): Float32Array {
  table ??= tableOfBits();
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = table[halves[i]!]!;
  return new Float32Array(bits.buffer);
}

/** To the nearest half, ties to even; from 65520 on infinite. NaN stays NaN, quiet, with its sign. */
export function floatsToHalves(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) out[i] = halfOf(bits[i]!);
  return out;
}

function halfOf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const fraction = bits & 0x7fffff;
  const stored = (bits >>> 23) & 0xff;
  if (stored === 255) return sign | 0x7c00 | (fraction === 0 ? 0 : 0x200 | (fraction >>> 13));
  const exponent = stored - 127 + 15;
  if (exponent >= 31) return sign | 0x7c00;
  // A carry out of the fraction runs into the exponent, which is what rounding up means there.
  if (exponent > 0) return sign | rounded((exponent << 23) | fraction, 13);
  // Subnormal halves are whole multiples of 2^-24; below half of one everything is 0.
  return exponent < -10 ? sign : sign | rounded(0x800000 | fraction, 14 - exponent);
}

/** bits / 2^shift to the nearest whole number, ties to even. */
function rounded(bits: number, shift: number): number {
  const quotient = bits >>> shift;
  const rest = bits & ((1 << shift) - 1);
  const halfway = 1 << (shift - 1);
  return rest > halfway || (rest === halfway && quotient & 1) ? quotient + 1 : quotient;
}

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
