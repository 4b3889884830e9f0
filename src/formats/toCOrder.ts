import { arrayBytes, dtypes, elementCount, type NdArray } from './dtypes.js';
import type { NpyHeader } from './npyHeader.js';

/** An array as it lies in a npy file, changed to little endian and C order where it is otherwise; `data` may be overwritten. */
export function toCOrder({ dtype, shape, fortran, bigEndian }: NpyHeader, data: Uint8Array): NdArray {
  const { bytes } = dtypes[dtype];
  if (bigEndian && bytes > 1) {
    const view = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (bytes === 2) view.swap16();
    else if (bytes === 4) view.swap32();
    else view.swap64();
  }
  if (!fortran || shape.length < 2) return { dtype, shape, data };
  const out = new Uint8Array(arrayBytes({ dtype, shape }));
  const strides = shape.map((_, axis) => elementCount(shape.slice(0, axis)));
  const index = shape.map(() => 0);
  let from = 0;
  const total = elementCount(shape);
  for (let to = 0; to < total; to++) {
    for (let k = 0; k < bytes; k++) out[to * bytes + k] = data[from * bytes + k]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      from += strides[axis]!;
      if (index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return { dtype, shape, data: out };
}
