import type { Llama3Scaling } from './readRope.js';

const f = Math.fround;

/** A number divided by a tensor, as torch does it. */
const over = (x: number, y: number) => f(f(1 / y) * f(x));

/**
 * By how much each frequency of Llama 3.1 and later is slowed: f32 [headDim / 2], the tensor `rope_freqs`. In single precision, step by
 * step as llama.cpp's converter computes it with torch (conversion/llama.py, generate_extra_tensors).
 */
export function ropeFactors(scaling: Llama3Scaling, base: number, headDim: number): Float32Array {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  const factors = new Float32Array(headDim / 2);
  for (let i = 0; i < factors.length; i++) {
    const frequency = over(1, f(f(base) ** f((2 * i) / headDim)));
    const wavelength = over(2 * Math.PI, frequency);
    if (wavelength < f(originalContext / high)) factors[i] = 1;
    else if (wavelength > f(originalContext / low)) factors[i] = factor;
    else {
      const smooth = f(f(over(originalContext, wavelength) - low) / f(high - low));
      factors[i] = over(1, f(f(f(1 - smooth) / factor) + smooth));
    }
  }
  return factors;
}
