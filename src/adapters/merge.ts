import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, quote, throwIfStopped, UnsupportedError } from '../base/errors.js';
import { callAsync } from '../engine/ffi.js';
import { native } from '../engine/native.js';
import { dequantize } from '../engine/rows.js';
import { rowBytes, type TensorType, type TensorTypeName, tensorTypes } from '../engine/tensorTypes.js';
import {
  type ArrayInfo,
  dtypes,
  type FloatDtype,
  fromFloat32,
  type NamedArrayToWrite,
  toFloat32,
} from '../formats/arrays.js';
import { type Gguf, type GgufFile, type GgufTensor, type GgufValue, openTensors } from '../formats/gguf/Gguf.js';
import { str, type TensorToWrite, writeGguf } from '../formats/gguf/writeGguf.js';
import type { TensorSource } from '../formats/safetensors.js';
import { openSafetensorsFolder, writeSafetensorsFolder } from '../formats/safetensorsFolder.js';
import type { Factors } from '../model/factors.js';
import type { LoraBase } from './base.js';
import { correctRows } from './combine.js';
import { foldAlpha, type Lora } from './lora.js';
import { moduleName, permuteFactors } from './peft/names.js';

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

/** Values converted at once: 4 MB as f32. */
const hfChunkValues = 1 << 20;

/** What stands beside the weights of a model: settings, tokeniser, template, licence. Nothing that runs. */
const beside = /^(.*\.(json|txt|model|jinja|md)|LICENSE.*|NOTICE.*|USE_POLICY.*)$/i;

/**
 * Writes a Hugging Face model with an adapter in its weights: each matrix in its own type (f32, f16 or bf16, to the nearest), other
 * tensors and the files beside them copied.
 * @throws LoamError where the folder lacks a weight that the adapter corrects
 */
export async function mergeHf(
  folder: string,
  base: LoraBase,
  lora: Lora,
  out: string,
  options: Omit<MergeOptions, 'type'> = {},
): Promise<Merged> {
  await using source = await openSafetensorsFolder(folder);
  const corrections = new Map<string, Factors>();
  for (const module of lora.modules) {
    const name = weightName(source, module.layer, moduleName(base.family, module.layer, module.module));
    corrections.set(name, permuteFactors(foldAlpha(module), base, module.module, 'toHf'));
  }
  const sums = { noise: 0, correction: 0 };
  let done = 0;
  const tensors = [...source.tensors].map(([name, info]): NamedArrayToWrite => {
    const factors = corrections.get(name);
    if (factors) checkWeight(source.path, name, info, factors);
    const data = async function* () {
      throwIfStopped(options.signal);
      if (factors) yield* correctedHf(source, name, info, factors, sums, options.signal);
      else yield* source.stream(name);
      options.onProgress?.(++done, source.tensors.size);
    };
    return { name, dtype: info.dtype, shape: info.shape, data };
  });
  await mkdir(out, { recursive: true });
  await writeSafetensorsFolder(out, tensors);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const weights = entry.name.includes('.safetensors') || entry.name.startsWith('adapter_');
    if (entry.isFile() && beside.test(entry.name) && !weights)
      await copyFile(join(folder, entry.name), join(out, entry.name));
  }
  return { changed: corrections.size, noise: Math.sqrt(sums.noise / (sums.correction || 1)) };
}

/** The name a weight has in this folder: Gemma 3 with images keeps its text model under a prefix. */
function weightName(source: TensorSource, layer: number, module: string): string {
  const inner = `${module.slice('model.'.length)}.weight`;
  const found = ['model.', '', 'language_model.model.', 'model.language_model.']
    .map((prefix) => prefix + inner)
    .find((name) => source.tensors.has(name));
  if (found !== undefined) return found;
  throw new LoamError({ found: `there is no weight ${module}.weight of layer ${layer}`, where: source.path });
}

function checkWeight(path: string, name: string, { dtype, shape }: ArrayInfo, { inputs, outputs }: Factors): void {
  const fits = shape.join() === `${outputs},${inputs}` && ['f32', 'f16', 'bf16', 'f64'].includes(dtype);
  if (fits) return;
  const found = `${quote(name)} is ${dtype} [${shape.join(', ')}]`;
  throw new LoamError({ found, expected: `floats [${outputs}, ${inputs}]`, where: path });
}

async function* correctedHf(
  source: TensorSource,
  name: string,
  { dtype }: ArrayInfo,
  factors: Factors,
  sums: { noise: number; correction: number },
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { inputs, outputs } = factors;
  const rowBytes = inputs * dtypes[dtype].bytes;
  const step = Math.max(1, Math.floor(hfChunkValues / inputs));
  for (let from = 0; from < outputs; from += step) {
    throwIfStopped(signal);
    const count = Math.min(step, outputs - from);
    const data = await source.readPart(name, from * rowBytes, count * rowBytes);
    const rows = toFloat32({ dtype, shape: [count, inputs], data });
    sums.correction += correctRows(rows, from, count, factors);
    const written = fromFloat32(rows, [count, inputs], dtype as FloatDtype);
    const back = toFloat32(written);
    for (let i = 0; i < rows.length; i++) sums.noise += (back[i]! - rows[i]!) ** 2;
    yield written.data;
    // Conversions in JavaScript: let the event loop see a Ctrl-C.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
