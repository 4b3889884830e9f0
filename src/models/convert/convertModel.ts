import { rm, stat } from 'node:fs/promises';
import { LoamError, throwIfStopped, UnsupportedError, UsageError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { listFirst } from '../../base/format.js';
import { requireWritable } from '../../base/io.js';
import { fileTypes, type QuantizedType, quantizeModel } from '../../engine/quantize.js';
import { rowBytes, tensorTypes } from '../../engine/tensorTypes.js';
import type { Gguf } from '../../formats/gguf/Gguf.js';
import { readGguf } from '../../formats/gguf/readGguf.js';
import { type GgufValue, str } from '../../formats/gguf/values.js';
import { type TensorToWrite, writeGguf } from '../../formats/gguf/writeGguf.js';
import { openSafetensorsFolder } from '../../formats/safetensorsFolder.js';
import { readHyperparameters } from '../../model/hyperparameters.js';
import { checkBiases, hasHeadOfItsOwn } from './contradictions.js';
import { generalMetadata } from './general.js';
import { readHfFolder } from './hfFolder.js';
import { hyperparameterMetadata, readHfSettings } from './hfSettings.js';
import { readImportance } from './importance.js';
import { type DirectType, planTensors, storedType, tensorPieces } from './tensors.js';
import { readTokenizer } from './tokenizer/readTokenizer.js';

/** Shown in a message; the rest is counted. */
const SHOWN = 8;

/** Collects what is wrong with a folder, so that it is told once and as a whole. */
export class Problems {
  private readonly found: string[] = [];

  add(problem: string): void {
    this.found.push(problem);
  }

  /** @throws LoamError with every problem so far */
  throwIfAny(where: string): void {
    if (this.found.length === 0) return;
    const found = `this model cannot be converted: ${listFirst(this.found, SHOWN)}`;
    throw new LoamError({ code: 'invalid-data', found, where });
  }
}

const bytesOf = ({ type, shape }: Pick<TensorToWrite, 'type' | 'shape'>): number =>
  rowBytes(type, shape[0]!) * shape.slice(1).reduce((product, length) => product * length, 1);

const elementsOf = ({ shape }: Pick<TensorToWrite, 'shape'>): number => shape.reduce((a, b) => a * b, 1);

/**
 * Writes the GGUF file of a Hugging Face folder, tokeniser and chat template included: the same bytes as llama.cpp's converter of the
 * pinned release writes. A few megabytes of the weights are in memory at a time.
 * @param wanted type of the matrices; `auto`: that of the folder, f16 for one of f32
 * @returns what was written
 */
async function writeConverted(
  folderPath: string,
  out: string,
  wanted: DirectType | 'auto' | 'lossless',
  emit: (event: ConvertEvent) => void,
  signal?: AbortSignal,
): Promise<{ architecture: string; weights: number; type: DirectType; bytes: number }> {
  const folder = await readHfFolder(folderPath);
  const problems = new Problems();
  const { settings, own } = readHfSettings(folder, problems);
  // Sizes that make no sense would only make more of the same problems.
  problems.throwIfAny(folderPath);
  throwIfStopped(signal);
  const tokenizer = readTokenizer(folder, settings, problems);
  for (const text of tokenizer.notes) emit({ type: 'note', text });
  throwIfStopped(signal);
  await using source = await openSafetensorsFolder(folderPath);
  const stored = storedType(source.tensors);
  const anyF32 = [...source.tensors.values()].some(({ dtype, shape }) => dtype === 'f32' && shape.length > 1);
  const type = wanted === 'auto' ? stored : wanted === 'lossless' ? (anyF32 ? 'f32' : stored) : wanted;
  const planned = planTensors(source.tensors, settings, type, tokenizer.size, problems);
  checkBiases(source.tensors, settings, problems);
  problems.throwIfAny(folderPath);
  if (await hasHeadOfItsOwn(source, settings)) {
    const text =
      'the output head (lm_head) differs from the table of embeddings, which config.json says it is (tie_word_embeddings): the head is ' +
      'kept, as llama.cpp and transformers 5 do; transformers 4 computes with the embeddings instead';
    emit({ type: 'note', text });
  }
  let done = 0;
  let total = 0;
  const tensors: TensorToWrite[] = planned.map((plan) => ({
    ...plan,
    data: async function* () {
      for await (const piece of tensorPieces(plan, source)) {
        throwIfStopped(signal);
        yield piece;
        done += piece.length;
        emit({ type: 'progress', stage: 'convert', done, total });
      }
    },
  }));
  const factors = (own.tensors ?? []).map(({ name, values }) => {
    const data = new Uint8Array(values.buffer);
    return { name: `${name}.weight`, type: tensorTypes.f32, shape: [values.length], data };
  });
  tensors.unshift(...factors);
  const weights = tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0);
  total = planned.reduce((sum, plan) => sum + bytesOf(plan), 0);
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', str(settings.family.name)],
    ...(own.first ?? []).map(([key, value]): [string, GgufValue] => [`${settings.family.name}.${key}`, value]),
    ['general.type', str('model')],
    ...generalMetadata(folder, weights),
    ...hyperparameterMetadata(settings, own, fileTypes[type]),
    ...tokenizer.metadata,
  ]);
  emit({
    type: 'model',
    architecture: settings.family.name,
    layers: settings.layers,
    weights,
    vocabulary: tokenizer.size,
    from: stored,
    to: type,
  });
  await writeGguf(out, { metadata, tensors });
  return { architecture: settings.family.name, weights, type, bytes: total };
}

export interface ConvertOptions {
  /** Type of the matrices; `auto`: as they are (f16 for f32). */
  readonly type?: QuantizedType | 'auto';
  /** Every matrix in this type, where llama-quantize would choose finer ones for some. */
  readonly pure?: boolean;
  /** Path of an importance matrix. */
  readonly imatrix?: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

type Emit = (event: ConvertEvent) => void;

const isDirect = (type: string): type is DirectType | 'auto' => ['auto', 'f32', 'f16', 'bf16', 'q8_0'].includes(type);

/** Beside the result, on the same disk. */
const between = (out: string) => `${out}.${process.pid}.unquantised`;

/** Types that libllama refuses to write without an importance matrix (llama-quant.cpp, tensor_requires_imatrix). */
const needsImportance = ['iq3_xxs', 'iq3_xs', 'iq2_xxs', 'iq2_xs', 'iq2_s', 'iq2_m', 'iq1_s', 'iq1_m', 'q2_k_s'];

async function finish(path: string, type: string, weights?: number): Promise<Converted> {
  // What was written must be readable: told here rather than at the first use.
  const gguf = await readGguf(path);
  try {
    checkKnown(gguf);
  } catch (error) {
    // Nothing could use it.
    await rm(path, { force: true });
    throw error;
  }
  const counted = [...gguf.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return {
    path,
    bytes: gguf.size,
    architecture: gguf.string('general.architecture'),
    weights: weights ?? counted,
    matrices: type,
  };
}

/** All checks of what Loam can use. Of other models, which libllama quantises too, it knows no more than that the file is whole. */
function checkKnown(gguf: Gguf): void {
  try {
    readHyperparameters(gguf);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
  }
}

async function quantise(input: string, out: string, options: ConvertOptions, type: QuantizedType, emit: Emit) {
  const importance = options.imatrix === undefined ? undefined : await readImportance(options.imatrix);
  throwIfStopped(options.signal);
  emit({ type: 'quantise', to: type });
  const { threads, pure = false, signal } = options;
  await quantizeModel(input, out, { type, threads, pure, importance, signal });
}

async function run(input: string, out: string, options: ConvertOptions, emit: Emit): Promise<Converted> {
  const type = options.type ?? 'auto';
  if (needsImportance.includes(type) && options.imatrix === undefined) {
    throw new UsageError({ found: `type ${type} without an importance matrix`, expected: '--imatrix FILE' });
  }
  if (type === 'auto' && options.imatrix !== undefined) {
    throw new UsageError({
      found: 'an importance matrix without a type to quantise to',
      expected: '--type q4_k_m, for example',
    });
  }
  await requireWritable(out);
  const found = await stat(input).catch(() => undefined);
  if (found?.isDirectory() || !found) {
    if (isDirect(type) && options.imatrix === undefined) {
      const { weights, type: written } = await writeConverted(input, out, type, emit, options.signal);
      return await finish(out, written, weights);
    }
    const middle = between(out);
    try {
      const { weights } = await writeConverted(input, middle, 'lossless', emit, options.signal);
      await quantise(middle, out, options, type as QuantizedType, emit);
      return await finish(out, type, weights);
    } finally {
      await rm(middle, { force: true });
    }
  }
  const gguf = await readGguf(input);
  if (gguf.string('general.type', 'model') !== 'model') {
    const found = 'this GGUF file holds no base model';
    throw new LoamError({ code: 'wrong-format', found, expected: 'a model to quantise', where: input });
  }
  checkKnown(gguf);
  if (type === 'auto') {
    throw new UsageError({ found: 'no type for a model that is GGUF already', expected: '--type q4_0, for example' });
  }
  if (found.ino === (await stat(out).catch(() => undefined))?.ino) {
    throw new UsageError({ found: 'the same file as input and --out', expected: 'another path', where: out });
  }
  await quantise(input, out, options, type, emit);
  return await finish(out, type);
}

/**
 * Turns a Hugging Face folder into GGUF, or quantises a GGUF file. The result appears under its name only when complete.
 * @param input a folder with config.json, tokeniser and safetensors, or a GGUF file
 * @throws LoamError where the folder contradicts itself (every mismatch at once), UnsupportedError for another family, StoppedError
 */
export function convertModel(input: string, out: string, options: ConvertOptions = {}): Run<ConvertEvent, Converted> {
  return new Run((emit, signal) => run(input, out, { ...options, signal }, emit), options.signal);
}

/** What a conversion tells while it runs: plain JSON. */
export type ConvertEvent =
  | {
      readonly type: 'model';
      readonly architecture: string;
      readonly layers: number;
      readonly weights: number;
      readonly vocabulary: number;
      readonly from: string;
      readonly to: string;
    }
  | { readonly type: 'note'; readonly text: string }
  /** Bytes written of the file; of a file between, where the result is quantised by libllama afterwards. */
  | { readonly type: 'progress'; readonly stage: 'convert'; readonly done: number; readonly total: number }
  /** libllama quantises: it cannot say how far it is. */
  | { readonly type: 'quantise'; readonly to: string };

/** What came out. */
export interface Converted {
  readonly path: string;
  readonly bytes: number;
  readonly architecture: string;
  readonly weights: number;
  /** Type of the matrices. */
  readonly matrices: string;
}
