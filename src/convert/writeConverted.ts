import { openSafetensorsFolder } from '../formats/SafetensorsFolder.js';
import { fileTypes } from '../ggml/quantize.js';
import { rowBytes, tensorTypes } from '../ggml/tensorTypes.js';
import { str } from '../gguf/buildValues.js';
import type { GgufValue } from '../gguf/values.js';
import { type TensorToWrite, writeGguf } from '../gguf/writeGguf.js';
import { throwIfStopped } from '../util/errors.js';
import type { ConvertEvent } from './events.js';
import { generalMetadata } from './general/generalMetadata.js';
import { readHfFolder } from './HfFolder.js';
import { readHfSettings } from './HfSettings.js';
import { hyperparameterMetadata } from './hyperparameterMetadata.js';
import { Problems } from './Problems.js';
import { type DirectType, planTensors, storedType } from './planTensors.js';
import { ropeFactors } from './ropeFactors.js';
import { tensorPieces } from './tensorPieces.js';
import { readTokenizer } from './tokenizer/readTokenizer.js';

const bytesOf = ({ type, shape }: Pick<TensorToWrite, 'type' | 'shape'>): number =>
  rowBytes(type, shape[0]!) * shape.slice(1).reduce((product, length) => product * length, 1);

const elementsOf = ({ shape }: Pick<TensorToWrite, 'shape'>): number => shape.reduce((a, b) => a * b, 1);

/**
 * Writes the GGUF file of a Hugging Face folder, tokeniser and chat template included: the same bytes as llama.cpp's converter of the
 * pinned release writes. A few megabytes of the weights are in memory at a time.
 * @param wanted type of the matrices; `auto`: that of the folder, f16 for one of f32
 * @returns what was written
 */
export async function writeConverted(
  folderPath: string,
  out: string,
  wanted: DirectType | 'auto' | 'lossless',
  emit: (event: ConvertEvent) => void,
  signal?: AbortSignal,
): Promise<{ architecture: string; weights: number; type: DirectType; bytes: number }> {
  const folder = await readHfFolder(folderPath);
  const problems = new Problems();
  const settings = readHfSettings(folder, problems);
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
  problems.throwIfAny(folderPath);
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
  const { scaling, base } = settings.rope;
  if (scaling?.type === 'llama3') {
    const factors = ropeFactors(scaling, base, settings.headDim);
    const data = new Uint8Array(factors.buffer);
    tensors.unshift({ name: 'rope_freqs.weight', type: tensorTypes.f32, shape: [factors.length], data });
  }
  const weights = tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0);
  total = planned.reduce((sum, plan) => sum + bytesOf(plan), 0);
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', str(settings.family.architecture)],
    ['general.type', str('model')],
    ...generalMetadata(folder, weights),
    ...hyperparameterMetadata(settings, fileTypes[type]),
    ...tokenizer.metadata,
  ]);
  emit({
    type: 'model',
    architecture: settings.family.architecture,
    layers: settings.layers,
    weights,
    vocabulary: tokenizer.size,
    from: stored,
    to: type,
  });
  await writeGguf(out, { metadata, tensors });
  return { architecture: settings.family.architecture, weights, type, bytes: total };
}
