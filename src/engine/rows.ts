import { LoamError } from '../base/errors.js';
import { bytes as data, fn, functionAt, i64, none, readPointer, viewMemory } from './ffi.js';
import { foreignBuild, native } from './native.js';
import { rowBytes, type TensorType, type TensorTypeName, tensorTypes } from './tensorTypes.js';

/** Rows of values between f32 and the types that ggml stores, by ggml's own functions. */

/** Offsets in `struct ggml_type_traits` (ggml.h of the pinned release). */
const at = { blockSize: 8, typeSize: 24, quantised: 32, toFloat: 40 } as const;

/** `ggml_to_float_t`: blocks, floats, how many floats. */
const toFloatType = fn('ggml_to_float', none, [data, data, i64]);

/** Address of the function that turns rows of this type into f32; 0 if there is none. A struct of another layout is refused. */
function toFloatAddress(type: TensorType): bigint {
  const address = native().ggml.typeTraits(type.id);
  const view = new DataView(viewMemory(address, at.toFloat));
  const sound =
    view.getBigInt64(at.blockSize, true) === BigInt(type.blockSize) &&
    view.getBigInt64(at.typeSize, true) === BigInt(type.typeSize) &&
    view.getUint8(at.quantised) === (type.quantised ? 1 : 0);
  if (!sound) throw foreignBuild(`these libraries lay out the properties of ${type.name} differently`, native().files);
  return readPointer(address + BigInt(at.toFloat));
}

/**
 * The values of whole blocks of a floating or quantised type, as ggml itself computes them.
 * @throws RangeError for part of a block, LoamError for types that ggml cannot turn into f32 (integers)
 */
export function dequantize(type: TensorType, bytes: Uint8Array): Float32Array {
  const elements = (bytes.length / type.typeSize) * type.blockSize;
  if (rowBytes(type, elements) !== bytes.length) throw new RangeError(`${bytes.length} bytes of ${type.name}`);
  if (type.name === 'f32') return new Float32Array(bytes.slice().buffer);
  const toFloat = toFloatAddress(type);
  if (toFloat === 0n) {
    const found = `a tensor of type ${type.name}`;
    throw new LoamError({ code: 'unsupported', found, expected: 'floats or quantised values' });
  }
  const out = new Float32Array(elements);
  if (elements > 0) functionAt(toFloat, toFloatType)(bytes, out, elements);
  return out;
}

/** Rows of f32 values as blocks of a floating or quantised type, by ggml's reference quantiser; `rowLength` must be a multiple of the block size. */
export function quantizeRows(type: TensorTypeName, values: Float32Array, rowLength: number): Uint8Array {
  const kind = tensorTypes[type];
  const rows = values.length / rowLength;
  const out = new Uint8Array(rowBytes(kind, rowLength) * rows);
  if (rows > 0) native().ggml.quantizeChunk(kind.id, values, out, 0, rows, rowLength, null);
  return out;
}

/** Rounds f32 values to f16 (IEEE binary16, nearest even) natively; beyond its range they become infinite. */
export function toHalf(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  if (values.length > 0) native().ggml.fp32ToFp16Row(values, out, values.length);
  return out;
}
