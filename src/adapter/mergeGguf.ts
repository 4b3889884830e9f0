import { dequantize } from '../ggml/dequantize.js';
import { callAsync, native } from '../ggml/native.js';
import { rowBytes, type TensorType, type TensorTypeName, tensorTypes } from '../ggml/tensorTypes.js';
import { str } from '../gguf/buildValues.js';
import type { Gguf, GgufTensor } from '../gguf/Gguf.js';
import { type GgufFile, openTensors } from '../gguf/GgufFile.js';
import type { GgufValue } from '../gguf/values.js';
import { type TensorToWrite, writeGguf } from '../gguf/writeGguf.js';
import type { Factors } from '../model/lora.js';
import { throwIfStopped, UnsupportedError } from '../util/errors.js';
import { correctRows } from './correctRows.js';
import { foldAlpha, type Lora } from './lora.js';

/** Values converted at once: 4 MB as f32. */
const chunkValues = 1 << 20;

/** Types that ggml quantises only with an importance matrix (ggml_quantize_requires_imatrix), or never stores weights in. */
const needsMatrix: ReadonlySet<TensorTypeName> = new Set(['iq2_xxs', 'iq2_xs', 'iq1_s', 'iq1_m']);
const notWritten: ReadonlySet<TensorTypeName> = new Set(['q8_1', 'q8_k', 'i8', 'i16', 'i32', 'i64', 'f64']);

export interface MergeOptions {
  /** Type of the matrices that change; each keeps its own if absent. */
  type?: TensorTypeName;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export interface Merged {
  /** Matrices that changed. */
  changed: number;
  /**
   * Root of Σ (written - exact)² over Σ ΔW²: what rounding into the type does to the matrices, relative to the correction itself. Above 1
   * the noise is larger than the correction (it points in no direction, though, as the correction does).
   */
  noise: number;
}

/**
 * Writes a base model with an adapter in its weights, as a GGUF file that stands alone. Tensors without correction and all metadata are
 * copied as they are; the others become f32, are corrected and rounded into their own type (or `type`) again, by ggml's own functions.
 * @throws UnsupportedError for types that cannot be written
 */
export async function mergeGguf(base: Gguf, lora: Lora, path: string, options: MergeOptions = {}): Promise<Merged> {
  const corrections = new Map<string, Factors>();
  for (const module of lora.modules) corrections.set(`blk.${module.layer}.${module.module}.weight`, foldAlpha(module));
  const wanted = options.type && tensorTypes[options.type];
  for (const name of corrections.keys()) requireWritableType(base.tensor(name), wanted, base.path);

  await using file = await openTensors(base);
  const sums = { noise: 0, correction: 0 };
  let done = 0;
  const tensors: TensorToWrite[] = [...base.tensors.values()].map((tensor) => {
    const factors = corrections.get(tensor.name);
    const type = factors ? (wanted ?? tensor.type) : tensor.type;
    const data = async function* () {
      throwIfStopped(options.signal);
      if (factors) yield* corrected(file, tensor, type, factors, sums, options.signal);
      else yield* file.stream(tensor.name);
      options.onProgress?.(++done, base.tensors.size);
    };
    return { name: tensor.name, type, shape: tensor.shape, data };
  });
  const metadata = new Map<string, GgufValue>(base.metadata);
  const name = lora.notes.get('general.name');
  if (name?.type === 'string') metadata.set('loam.merged.adapter', str(name.value));
  await writeGguf(path, { metadata, tensors, alignment: base.alignment });
  return { changed: corrections.size, noise: Math.sqrt(sums.noise / (sums.correction || 1)) };
}

function requireWritableType(
  { name, type: own, shape }: GgufTensor,
  wanted: TensorType | undefined,
  path: string,
): void {
  const type = wanted ?? own;
  const problem = needsMatrix.has(type.name)
    ? 'which is written only with an importance matrix'
    : notWritten.has(type.name)
      ? 'which no weights are written in'
      : shape[0]! % type.blockSize !== 0
        ? `whose blocks of ${type.blockSize} do not fill its rows of ${shape[0]}`
        : undefined;
  if (problem === undefined) return;
  throw new UnsupportedError({
    found: `${name} would become ${type.name}, ${problem}`,
    where: path,
    fix: 'choose another type with --type, such as q8_0 or f16',
  });
}

async function* corrected(
  file: GgufFile,
  tensor: GgufTensor,
  type: TensorType,
  factors: Factors,
  sums: { noise: number; correction: number },
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const [inputs = 1, outputs = 1] = tensor.shape;
  const stored = rowBytes(tensor.type, inputs);
  const step = Math.max(1, Math.floor(chunkValues / inputs));
  for (let from = 0; from < outputs; from += step) {
    throwIfStopped(signal);
    const count = Math.min(step, outputs - from);
    const rows = dequantize(tensor.type, await file.readPart(tensor.name, from * stored, count * stored));
    sums.correction += correctRows(rows, from, count, factors);
    const bytes = await encodeRows(type, rows, count, inputs);
    const written = dequantize(type, bytes);
    for (let i = 0; i < rows.length; i++) sums.noise += (written[i]! - rows[i]!) ** 2;
    yield bytes;
  }
}

async function encodeRows(type: TensorType, rows: Float32Array, count: number, inputs: number): Promise<Uint8Array> {
  if (type.name === 'f32') return new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
  const bytes = new Uint8Array(count * rowBytes(type, inputs));
  await callAsync(native().ggml.quantizeChunk, type.id, rows, bytes, 0, count, inputs, null);
  return bytes;
}
