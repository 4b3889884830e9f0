import { native } from './native.js';
import { rowBytes, type TensorTypeName, tensorTypes } from './tensorTypes.js';

/** Rows of f32 values as blocks of a quantised type, by ggml's reference quantiser; `rowLength` must be a multiple of the block size. */
export function quantizeRows(type: TensorTypeName, values: Float32Array, rowLength: number): Uint8Array {
  const kind = tensorTypes[type];
  const rows = values.length / rowLength;
  const out = new Uint8Array(rowBytes(kind, rowLength) * rows);
  if (rows > 0) native().ggml.quantizeChunk(kind.id, values, out, 0, rows, rowLength, null);
  return out;
}
