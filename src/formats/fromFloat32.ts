import { floatsToBfloats } from '../util/bfloat.js';
import { floatsToHalves } from '../util/half.js';
import type { NdArray } from './dtypes.js';
import { ndArray } from './ndArray.js';

export type FloatDtype = 'f64' | 'f32' | 'f16' | 'bf16';

/** Values as an array of another floating type, to the nearest (ties to even); f32 shares the memory. Throws as `ndArray`. */
export function fromFloat32(values: Float32Array, shape: readonly number[], dtype: FloatDtype): NdArray {
  switch (dtype) {
    case 'f64':
      return ndArray(Float64Array.from(values), shape);
    case 'f32':
      return ndArray(values, shape);
    case 'f16':
      return { ...ndArray(floatsToHalves(values), shape), dtype };
    case 'bf16':
      return { ...ndArray(floatsToBfloats(values), shape), dtype };
  }
}
