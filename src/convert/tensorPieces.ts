import type { TensorSource } from '../formats/SafetensorsFile.js';
import { quantizeRows } from '../ggml/quantizeRows.js';
import type { TensorType } from '../ggml/tensorTypes.js';
import { bfloatsToFloats, floatsToBfloats } from '../util/bfloat.js';
import { floatsToHalves, halvesToFloats } from '../util/half.js';
import type { PlannedTensor } from './planTensors.js';

/** Bytes read at once: the most of a tensor that is in memory, beside what it becomes. */
const PIECE = 4 * 1024 * 1024;

/** The values as f32 (exact); plus `shift`, in f16 where they are stored so, as torch adds it. */
function decode(bytes: Uint8Array, dtype: string, shift: number): Float32Array {
  const { buffer, byteOffset, byteLength } = bytes;
  const halves = () => new Uint16Array(buffer, byteOffset, byteLength / 2);
  const values =
    dtype === 'f32'
      ? new Float32Array(buffer, byteOffset, byteLength / 4)
      : dtype === 'bf16'
        ? bfloatsToFloats(halves())
        : halvesToFloats(halves());
  if (shift === 0) return values;
  const shifted = values.map((value) => value + shift);
  return dtype === 'f16' ? halvesToFloats(floatsToHalves(shifted)) : shifted;
}

function encode(values: Float32Array, type: TensorType, rowLength: number): Uint8Array {
  const raw = (array: Float32Array | Uint16Array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  if (type.name === 'f32') return raw(values);
  if (type.name === 'f16') return raw(floatsToHalves(values));
  if (type.name === 'bf16') return raw(floatsToBfloats(values));
  return quantizeRows(type.name, values, rowLength);
}

/** Rows of a head in the order that ggml's rotary embeddings pair them: i, i + half, i + 1, ... (conversion/llama.py, permute). */
function interleave(head: Uint8Array, rows: number): Uint8Array {
  const rowBytes = head.length / rows;
  const out = new Uint8Array(head.length);
  for (let row = 0; row < rows; row++) {
    const from = (row % 2) * (rows / 2) + (row >> 1);
    out.set(head.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  }
  return out;
}

/** The data of a planned tensor, piece by piece. */
export async function* tensorPieces(plan: PlannedTensor, source: TensorSource): AsyncGenerator<Uint8Array, void> {
  const { stored, type, shape, shift, interleavedHeads } = plan;
  const elements = shape.reduce((product, length) => product * length, 1);
  const storedRows = stored.shape.length === 2 ? stored.shape[0]! : 1;
  // Rows may be fewer than stored, never more.
  const rows = shape.length === 2 ? shape[1]! : 1;
  const rowBytes = stored.bytes / storedRows;
  const unchanged = type.name === stored.dtype && shift === 0;
  // A bias is permuted as well; its rows are single values.
  const units = interleavedHeads ?? rows;
  const unitBytes = interleavedHeads === undefined ? rowBytes : stored.bytes / interleavedHeads;
  const step = interleavedHeads === undefined ? Math.max(1, Math.floor(PIECE / unitBytes)) : 1;
  for (let unit = 0; unit < units; unit += step) {
    const taken = Math.min(step, units - unit);
    let bytes = await source.readPart(plan.source, unit * unitBytes, taken * unitBytes);
    if (interleavedHeads !== undefined) bytes = interleave(bytes, stored.shape[0]! / interleavedHeads);
    yield unchanged ? bytes : encode(decode(bytes, stored.dtype, shift), type, rows === 1 ? elements : shape[0]!);
  }
}
