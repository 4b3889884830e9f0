import { copyFile, mkdir, readdir, stat } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { setImmediate } from 'node:timers/promises';
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
import { type Gguf, type GgufTensor, openTensors } from '../formats/gguf/Gguf.js';
import { type GgufValue, str } from '../formats/gguf/values.js';
import { type TensorToWrite, writeGguf } from '../formats/gguf/writeGguf.js';
import type { TensorSource } from '../formats/safetensors.js';
import { openSafetensorsFolder, writeSafetensorsFolder } from '../formats/safetensorsFolder.js';
import { type Factors, largest } from '../model/factors.js';
import type { LoraBase } from './base.js';
import { corrections, foldAlpha, type Lora, textNote } from './lora.js';
import { fullName, toHf } from './peft/names.js';

/**
 * A base model with an adapter in its weights: each corrected matrix becomes f32, some rows at a time, is corrected and rounded into its
 * own type (or another) again; everything else is copied.
 */

/** Values converted at once: 4 MB as f32. */
const chunkValues = 1 << 20;

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
  /** What a Hugging Face folder holds that is not carried on: programs, other forms of the weights. */
  left?: readonly string[];
}

/** How a container stores rows of one of its matrices. */
interface RowFormat {
  read(from: number, count: number): Promise<Float32Array>;
  encode(rows: Float32Array, count: number): Promise<Uint8Array> | Uint8Array;
  decode(bytes: Uint8Array, count: number): Float32Array;
}

/** The matrices that an adapter corrects, by the names that the container has for them, and what correcting them has come to. */
class Merging {
  private noise = 0;
  private squares = 0;
  private done = 0;

  constructor(
    readonly factors: ReadonlyMap<string, Factors>,
    /** All that are written. */
    private readonly tensors: number,
    private readonly options: MergeOptions,
  ) {}

  /** The bytes of a tensor: corrected, or as they are. */
  async *bytes(name: string, format: RowFormat, copy: () => AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    throwIfStopped(this.options.signal);
    const factors = this.factors.get(name);
    yield* factors ? this.corrected(factors, format) : copy();
    this.options.onProgress?.(++this.done, this.tensors);
  }

  private async *corrected(factors: Factors, format: RowFormat): AsyncGenerator<Uint8Array> {
    const { inputs, outputs } = factors;
    const step = Math.max(1, Math.floor(chunkValues / inputs));
    for (let from = 0; from < outputs; from += step) {
      throwIfStopped(this.options.signal);
      const count = Math.min(step, outputs - from);
      const rows = await format.read(from, count);
      this.squares += correctRows(rows, from, count, factors);
      const bytes = await format.encode(rows, count);
      const written = format.decode(bytes, count);
      requireFinite(written);
      for (let i = 0; i < rows.length; i++) this.noise += (written[i]! - rows[i]!) ** 2;
      yield bytes;
      // Some conversions are JavaScript: let the event loop see a Ctrl-C.
      await setImmediate();
    }
  }

  get result(): Merged {
    return { changed: this.factors.size, noise: Math.sqrt(this.noise / (this.squares || 1)) };
  }
}

/** A weight that f32 holds may be beyond the type that it is written in. */
function requireFinite(written: Float32Array): void {
  if (Number.isFinite(largest(written))) return;
  throw new LoamError({
    code: 'damaged',
    found: 'a corrected weight that is not a finite number in the type of its matrix',
    fix: 'choose another type with --type, such as f32 or bf16, or another adapter',
  });
}

/**
 * Adds rows of ΔW = B·A to rows of a weight, in f32 as a LoRA is computed beside its weight.
 * @param rows `count` rows of the weight, from row `from` on; changed in place
 * @returns Σ of the squares that were added
 */
function correctRows(rows: Float32Array, from: number, count: number, { inputs, rank, a, b }: Factors): number {
  const delta = new Float32Array(inputs);
  let squares = 0;
  for (let o = 0; o < count; o++) {
    delta.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = b[(from + o) * rank + r]!;
      if (factor === 0) continue;
      const at = r * inputs;
      for (let i = 0; i < inputs; i++) delta[i]! += factor * a[at + i]!;
    }
    const row = o * inputs;
    for (let i = 0; i < inputs; i++) {
      const x = delta[i]!;
      rows[row + i]! += x;
      squares += x * x;
    }
  }
  return squares;
}

/** Types that ggml quantises only with an importance matrix (ggml_quantize_requires_imatrix), or never stores weights in. */
const needsMatrix: ReadonlySet<TensorTypeName> = new Set(['iq2_xxs', 'iq2_xs', 'iq1_s', 'iq1_m']);
const notWritten: ReadonlySet<TensorTypeName> = new Set(['q8_1', 'q8_k', 'i8', 'i16', 'i32', 'i64', 'f64']);

/**
 * Writes a GGUF model with an adapter in its weights, as a file that stands alone. All metadata is copied; rounding is ggml's own.
 * @throws UnsupportedError for types that cannot be written
 */
export async function mergeGguf(base: Gguf, lora: Lora, path: string, options: MergeOptions = {}): Promise<Merged> {
  const wanted = options.type && tensorTypes[options.type];
  const factors = corrections(lora).map((c) => [`blk.${c.layer}.${c.module}.weight`, c.factors] as const);
  const merging = new Merging(new Map(factors), base.tensors.size, options);
  for (const name of merging.factors.keys()) requireWritableType(base.tensor(name), wanted, base.path);

  await using file = await openTensors(base);
  const tensors = [...base.tensors.values()].map((tensor): TensorToWrite => {
    const { name, shape } = tensor;
    const type = merging.factors.has(name) ? (wanted ?? tensor.type) : tensor.type;
    const [inputs = 1] = shape;
    const stored = rowBytes(tensor.type, inputs);
    const format: RowFormat = {
      read: async (from, count) => dequantize(tensor.type, await file.readPart(name, from * stored, count * stored)),
      encode: (rows, count) => encodeRows(type, rows, count, inputs),
      decode: (bytes) => dequantize(type, bytes),
    };
    return { name, type, shape, data: () => merging.bytes(name, format, () => file.stream(name)) };
  });
  const metadata = new Map<string, GgufValue>(base.metadata);
  const name = textNote(lora.notes, 'general.name');
  if (name !== undefined) metadata.set('loam.merged.adapter', str(name));
  await writeGguf(path, { metadata, tensors });
  return merging.result;
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

async function encodeRows(type: TensorType, rows: Float32Array, count: number, inputs: number): Promise<Uint8Array> {
  if (type.name === 'f32') return new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
  const bytes = new Uint8Array(count * rowBytes(type, inputs));
  await callAsync(native().ggml.quantizeChunk, type.id, rows, bytes, 0, count, inputs, null);
  return bytes;
}

/** What stands beside the weights of a model: settings, tokeniser, template, licence. Nothing that runs. */
const beside = /^(.*\.(json|txt|model|jinja|md)|LICENSE.*|NOTICE.*|USE_POLICY.*)$/i;

/**
 * Writes a Hugging Face model with an adapter in its weights: each matrix in its own type (f32, f16 or bf16, to the nearest), other
 * tensors and the files beside them copied.
 * @throws LoamError if the folder lacks a weight that the adapter corrects
 */
export async function mergeHf(
  folder: string,
  base: LoraBase,
  lora: Lora,
  out: string,
  options: Omit<MergeOptions, 'type'> = {},
): Promise<Merged> {
  const { files, left } = await listBeside(folder);
  await using source = await openSafetensorsFolder(folder);
  const factors = toHf(base, lora.modules).map(
    (module) => [weightName(source, fullName(module)), foldAlpha(module)] as const,
  );
  const merging = new Merging(new Map(factors), source.tensors.size, options);
  const tensors = [...source.tensors].map(([name, info]): NamedArrayToWrite => {
    const { dtype, shape } = info;
    const corrected = merging.factors.get(name);
    if (corrected) checkWeight(source.path, name, info, corrected);
    const inputs = shape[1] ?? 1;
    const stored = inputs * dtypes[dtype].bytes;
    const decode = (data: Uint8Array, count: number) => toFloat32({ dtype, shape: [count, inputs], data });
    const format: RowFormat = {
      read: async (from, count) => decode(await source.readPart(name, from * stored, count * stored), count),
      encode: (rows, count) => fromFloat32(rows, [count, inputs], dtype as FloatDtype).data,
      decode,
    };
    return { name, dtype, shape, data: () => merging.bytes(name, format, () => source.stream(name)) };
  });
  await mkdir(out, { recursive: true });
  await writeSafetensorsFolder(out, tensors);
  for (const name of files) {
    await mkdir(dirname(join(out, name)), { recursive: true });
    await copyFile(join(folder, name), join(out, name));
  }
  return { ...merging.result, left };
}

/**
 * What stands beside the weights, folders within it (further templates) too, by their paths. In the hub's cache every file is a link, which
 * is followed.
 * @throws LoamError for a link to nothing, as a download that was broken off leaves them
 */
async function listBeside(folder: string, within = ''): Promise<{ files: string[]; left: string[] }> {
  const [files, left]: string[][] = [[], []];
  for (const name of (await readdir(join(folder, within))).sort()) {
    if (name.startsWith('.')) continue;
    const path = join(within, name);
    const found = await stat(join(folder, path)).catch(() => undefined);
    if (!found) {
      throw new LoamError({
        code: 'not-found',
        found: 'a link whose file is not there',
        where: join(folder, path),
        fix: 'fetch the model again',
      });
    }
    const isKept = found.isFile() && beside.test(name) && !foreign.test(name);
    if (found.isDirectory() && within.split(sep).length < maxDepth) {
      const inside = await listBeside(folder, path);
      files.push(...inside.files);
      left.push(...inside.left);
    } else if (within !== '' || !written.test(name)) (isKept ? files : left).push(path);
  }
  return { files, left };
}

/** Folders within folders: models have one level, and a link may lead back. */
const maxDepth = 3;

const written = /^model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$/;
/** Of adapters, and of weights in other forms. */
const foreign = /^adapter_|\.index\.json$/;

/** The name a weight has in this folder: a model with images keeps its text model under a prefix. */
function weightName(source: TensorSource, module: string): string {
  const inner = `${module.slice('model.'.length)}.weight`;
  const found = ['model.', '', 'language_model.model.', 'model.language_model.']
    .map((prefix) => prefix + inner)
    .find((name) => source.tensors.has(name));
  if (found !== undefined) return found;
  const missing = `there is no weight ${module}.weight`;
  throw new LoamError({ code: 'mismatch', found: missing, where: source.path });
}

function checkWeight(path: string, name: string, { dtype, shape }: ArrayInfo, { inputs, outputs }: Factors): void {
  const fits = shape.join() === `${outputs},${inputs}` && ['f32', 'f16', 'bf16', 'f64'].includes(dtype);
  if (fits) return;
  const found = `${quote(name)} is ${dtype} [${shape.join(', ')}]`;
  throw new LoamError({
    code: 'mismatch',
    found,
    expected: `floats [${outputs}, ${inputs}]`,
    where: path,
    fix: ['f32', 'f16', 'bf16', 'f64'].includes(dtype)
      ? 'choose the base model that the adapter was made for'
      : 'merge into the folder of the model before it was quantised',
  });
}
