import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import { bfloatsToFloats, floatsToBfloats, floatsToHalves, halvesToFloats } from '../../base/floats.js';
import type { ImportanceMatrix } from '../../engine/quantize.js';
import { quantizeRows } from '../../engine/rows.js';
import { type TensorType, tensorTypes } from '../../engine/tensorTypes.js';
import { linearRows, normRows, rowShape } from '../../families/family.js';
import type { HfSettings } from '../../families/huggingFace.js';
import { openTensors } from '../../formats/gguf/Gguf.js';
import { readGguf } from '../../formats/gguf/readGguf.js';
import type { StoredTensor, TensorSource } from '../../formats/safetensors.js';
import type { Problems } from './convertModel.js';

/** Types that are written without libllama's quantiser. */
export type DirectType = 'f32' | 'f16' | 'bf16' | 'q8_0';

/** One tensor of the GGUF file, and how it comes about. */
interface PlannedTensor {
  readonly name: string;
  readonly type: TensorType;
  /** ggml's order: the length of a row first. */
  readonly shape: readonly number[];
  /** Its name in the safetensors. */
  readonly source: string;
  readonly stored: StoredTensor;
  /** Its first row there: several may lie below one another in one tensor. */
  readonly firstRow: number;
  /** Added to each value. */
  readonly shift: number;
  /** Heads whose rows are interleaved: the first half of each with its second. */
  readonly interleavedHeads?: number;
}

/** Vision and audio towers of multimodal checkpoints, which another file of llama.cpp's would hold (base.py, TextModel.filter_tensors). */
const otherSenses =
  /^(?:mlp|vit\.|vpm\.|siglip2\.|conformer\.|merger\.|resampler\.)|visual\.|vision\.|audio\.|vision_|audio_|projector\./;

/** Constants that old versions saved beside the weights. */
const leftOvers = /(?:\.attention\.masked_bias|\.attention\.bias|\.rotary_emb\.inv_freq)$/;

/** The order in which llama.cpp's converter takes them: file by file, names sorted. */
function inConverterOrder(tensors: ReadonlyMap<string, StoredTensor>): string[] {
  const key = (name: string): string => `${tensors.get(name)!.file ?? ''}\u0000${name}`;
  // By code units, as Python sorts what is ASCII.
  return [...tensors.keys()]
    .map((name) => [key(name), name] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, name]) => name);
}

/** The type of most matrices in the folder: what `auto` becomes. f32 weights become f16, as llama.cpp's converter decides. */
export function storedType(tensors: ReadonlyMap<string, StoredTensor>): 'f16' | 'bf16' {
  for (const name of inConverterOrder(tensors)) {
    const { dtype, shape } = tensors.get(name)!;
    if (shape.length >= 2 && (dtype === 'bf16' || dtype === 'f16')) return dtype;
  }
  return 'f16';
}

interface Target {
  readonly name: string;
  /** Rows first. */
  readonly shape: readonly number[];
  /** Rows beyond these may be there, and are left out. */
  readonly cut?: boolean;
  readonly interleaved?: 'heads' | 'kvHeads';
  readonly shift?: number;
}

/** Every tensor that may be in the folder, by its name there, with what becomes of it; and those that must be. */
function targets(settings: HfSettings, tokens: number): { all: Map<string, Target[]>; required: Set<string> } {
  const { family, embedding, headDim } = settings;
  const { normShift: shift, cutsEmbeddings: cut } = family.huggingFace.tensors ?? {};
  const all = new Map<string, Target[]>();
  const required = new Set<string>();
  const add = (hf: string, target: Target, must = true) => {
    all.set(hf, [...(all.get(hf) ?? []), target]);
    if (must) required.add(hf);
  };
  const table = [settings.vocabulary, embedding];
  add('model.embed_tokens.weight', { name: 'token_embd.weight', shape: cut ? [tokens, embedding] : table, cut });
  add('model.norm.weight', { name: 'output_norm.weight', shape: [embedding], shift });
  add('lm_head.weight', { name: 'output.weight', shape: table }, !settings.tied);
  for (let l = 0; l < settings.layers; l++) {
    for (const { name, module, width } of normRows(family)) {
      const shape = [width === 'headDim' ? headDim : embedding];
      add(`model.layers.${l}.${module}.weight`, { name: `blk.${l}.${name}.weight`, shape, shift });
    }
    for (const row of linearRows(family)) {
      const [hf, gguf] = [`model.layers.${l}.${row.module}`, `blk.${l}.${row.name}`];
      const [inputs, outputs] = rowShape(settings, row);
      const { interleaved } = row;
      add(`${hf}.weight`, { name: `${gguf}.weight`, shape: [outputs, inputs], interleaved });
      if (row.bias) add(`${hf}.bias`, { name: `${gguf}.bias`, shape: [outputs], interleaved }, false);
    }
  }
  return { all, required };
}

/** The type that llama.cpp's converter gives a tensor (base.py, prepare_tensors). */
function typeOf(name: string, shape: readonly number[], wanted: DirectType): TensorType {
  if (shape.length < 2 || !name.endsWith('.weight')) return tensorTypes.f32;
  const type = tensorTypes[wanted];
  return shape.at(-1)! % type.blockSize === 0 ? type : tensorTypes.f16;
}

/**
 * Holds the tensors of a folder against what its config.json says and plans those of the GGUF file, in the order of llama.cpp's converter.
 * Missing, unknown and wrong ones go to `problems`.
 * @param tokens in the vocabulary: rows of the embeddings beyond them are cut off where the family's converter does so (Gemma 3)
 */
export function planTensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  settings: HfSettings,
  wanted: DirectType,
  tokens: number,
  problems: Problems,
): PlannedTensor[] {
  const { all, required } = targets(settings, tokens);
  const planned = new Map<string, PlannedTensor>();
  for (const source of inConverterOrder(tensors)) {
    if (leftOvers.test(source) || otherSenses.test(source)) continue;
    // Multimodal checkpoints: language_model.model.layers..., or model.language_model.layers...
    const plain = source.replace('language_model.', '');
    const parts = all.get(plain);
    const stored = tensors.get(source)!;
    if (!parts) {
      problems.add(`a tensor ${quote(source)} that ${settings.family.title} does not have`);
      continue;
    }
    required.delete(plain);
    const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const expected = [rows, ...parts[0]!.shape.slice(1)];
    const [most = 0, ...rest] = stored.shape;
    if ([parts[0]!.cut ? Math.min(most, rows) : most, ...rest].join() !== expected.join()) {
      problems.add(`${quote(source)} is [${stored.shape.join(', ')}], expected [${expected.join(', ')}]`);
      continue;
    }
    if (stored.dtype !== 'f32' && stored.dtype !== 'f16' && stored.dtype !== 'bf16') {
      throw new UnsupportedError({
        found: `tensor ${quote(source)} of type ${stored.dtype}`,
        expected: 'bf16, f16 or f32: the folder of the model before it was quantised',
      });
    }
    let firstRow = 0;
    for (const { name, shape, shift = 0, interleaved } of parts) {
      if (planned.has(name)) problems.add(`two tensors for ${name}`);
      const type = typeOf(name, shape, wanted);
      const interleavedHeads = interleaved && settings[interleaved];
      planned.set(name, { name, type, shape: [...shape].reverse(), source, stored, firstRow, shift, interleavedHeads });
      firstRow += shape[0]!;
    }
  }
  for (const missing of required) problems.add(`${quote(missing)} is missing`);
  if (!settings.tied && required.has('lm_head.weight')) {
    problems.add('config.json does not say that the output head is the table of embeddings (tie_word_embeddings)');
  }
  return [...planned.values()];
}

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
  const [width, rows = 1] = shape as [number, number?];
  const unchanged = type.name === stored.dtype && shift === 0;
  const bytes = (stored.bytes / stored.shape[0]!) * shape.at(-1)!;
  const start = (stored.bytes / stored.shape[0]!) * plan.firstRow;
  // A bias is permuted as well; its rows are single values.
  const units = interleavedHeads ?? rows;
  const unitBytes = bytes / units;
  const step = interleavedHeads === undefined ? Math.max(1, Math.floor(PIECE / unitBytes)) : 1;
  for (let unit = 0; unit < units; unit += step) {
    const taken = Math.min(step, units - unit);
    let piece = await source.readPart(plan.source, start + unit * unitBytes, taken * unitBytes);
    if (interleavedHeads !== undefined) piece = interleave(piece, shape.at(-1)! / interleavedHeads);
    yield unchanged ? piece : encode(decode(piece, stored.dtype, shift), type, width);
  }
}

const sums = '.in_sum2';
const counts = '.counts';

async function isOldFormat(path: string): Promise<boolean> {
  return (
    !path.endsWith('.gguf') &&
    (await readGguf(path)
      .then(() => false)
      .catch(() => true))
  );
}

/**
 * Reads an importance matrix as llama-imatrix writes it (a GGUF file with `NAME.in_sum2` and `NAME.counts`): the mean square of each input
 * of each matrix (tools/quantize/quantize.cpp, load_imatrix).
 * @throws LoamError for another file, and for sums that are not finite
 */
export async function readImportance(path: string): Promise<ImportanceMatrix> {
  if (await isOldFormat(path)) {
    throw new LoamError({
      code: 'wrong-format',
      found: 'this is no GGUF file',
      expected: 'an importance matrix in GGUF',
      where: path,
      fix: 'convert an old .dat with llama-imatrix --in-file OLD -o NEW.gguf',
    });
  }
  const gguf = await readGguf(path);
  if (gguf.string('general.type', '') !== 'imatrix') {
    throw new LoamError({
      code: 'wrong-format',
      found: 'this GGUF file holds no importance matrix',
      expected: 'one of llama-imatrix',
      where: path,
    });
  }
  const found = new Map<string, Float32Array>();
  await using file = await openTensors(gguf);
  const floats = async (name: string): Promise<Float32Array> => {
    if (gguf.tensor(name).type.name !== 'f32') {
      throw new LoamError({ code: 'damaged', found: `tensor ${quote(name)} is not f32`, where: path });
    }
    const bytes = await file.read(name);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  };
  for (const name of gguf.tensors.keys()) {
    if (!name.endsWith(sums)) continue;
    const matrix = name.slice(0, -sums.length);
    const values = await floats(name);
    const seen = await floats(`${matrix}${counts}`);
    const width = values.length / seen.length;
    if (!Number.isInteger(width))
      throw new LoamError({ code: 'damaged', found: `sums and counts of ${quote(matrix)} do not fit`, where: path });
    const means = values.map((sum, i) => {
      const times = Math.round(seen[Math.floor(i / width)]!);
      return times > 0 ? sum / times : 1;
    });
    if (!means.every((mean) => Number.isFinite(mean))) {
      throw new LoamError({ code: 'damaged', found: `values of ${quote(matrix)} that are not finite`, where: path });
    }
    found.set(matrix, means);
  }
  if (found.size > 0) return found;
  throw new LoamError({ code: 'damaged', found: 'an importance matrix without entries', where: path });
}
