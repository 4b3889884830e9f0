import { rm, stat } from 'node:fs/promises';
import { type QuantizedType, quantizeModel } from '../ggml/quantize.js';
import { readGguf } from '../gguf/readGguf.js';
import { LoamError, throwIfStopped, UsageError } from '../util/errors.js';
import { eventStream } from '../util/eventStream.js';
import { requireWritable } from '../util/requireWritable.js';
import type { ConvertEvent, Converted } from './events.js';
import type { DirectType } from './planTensors.js';
import { readImportance } from './readImportance.js';
import { writeConverted } from './writeConverted.js';

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
  const counted = [...gguf.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return {
    path,
    bytes: gguf.size,
    architecture: gguf.string('general.architecture'),
    weights: weights ?? counted,
    matrices: type,
  };
}

async function quantise(input: string, out: string, options: ConvertOptions, type: QuantizedType, emit: Emit) {
  const importance = options.imatrix === undefined ? undefined : await readImportance(options.imatrix);
  throwIfStopped(options.signal);
  emit({ type: 'quantise', to: type });
  await quantizeModel(input, out, { type, threads: options.threads, pure: options.pure ?? false, importance });
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
    throw new LoamError({ found: 'this GGUF file holds no base model', expected: 'a model to quantise', where: input });
  }
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
export function convertModel(
  input: string,
  out: string,
  options: ConvertOptions = {},
): AsyncGenerator<ConvertEvent, Converted> {
  return eventStream((emit, signal) => run(input, out, { ...options, signal }, emit), options.signal);
}
