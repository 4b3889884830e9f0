import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toFloat32 } from '../formats/asNumbers.js';
import { type ArrayInfo, dtypes, type NamedArrayToWrite } from '../formats/dtypes.js';
import { type FloatDtype, fromFloat32 } from '../formats/fromFloat32.js';
import type { TensorSource } from '../formats/SafetensorsFile.js';
import { openSafetensorsFolder } from '../formats/SafetensorsFolder.js';
import { writeSafetensorsFolder } from '../formats/writeSafetensorsFolder.js';
import type { Factors } from '../model/lora.js';
import { LoamError, throwIfStopped } from '../util/errors.js';
import { quote } from '../util/quote.js';
import { correctRows } from './correctRows.js';
import type { LoraBase } from './LoraBase.js';
import { foldAlpha, type Lora } from './lora.js';
import type { Merged, MergeOptions } from './mergeGguf.js';
import { moduleName } from './peft/names.js';
import { permuteFactors } from './peft/permuteRows.js';

/** Values converted at once: 4 MB as f32. */
const chunkValues = 1 << 20;

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
    const name = weightName(source, module.layer, moduleName(module.layer, module.module));
    corrections.set(name, permuteFactors(foldAlpha(module), base, module.module, 'toHf'));
  }
  const sums = { noise: 0, correction: 0 };
  let done = 0;
  const tensors = [...source.tensors].map(([name, info]): NamedArrayToWrite => {
    const factors = corrections.get(name);
    if (factors) checkWeight(source.path, name, info, factors);
    const data = async function* () {
      throwIfStopped(options.signal);
      if (factors) yield* corrected(source, name, info, factors, sums, options.signal);
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

async function* corrected(
  source: TensorSource,
  name: string,
  { dtype }: ArrayInfo,
  factors: Factors,
  sums: { noise: number; correction: number },
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { inputs, outputs } = factors;
  const rowBytes = inputs * dtypes[dtype].bytes;
  const step = Math.max(1, Math.floor(chunkValues / inputs));
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
