import { type Fault, LoamError, quote, UnsupportedError } from '../../base/errors.js';
import { bfloatsToFloats, floatsToBfloats, floatsToHalves, halvesToFloats } from '../../base/floats.js';
import { quantizeRows } from '../../engine/rows.js';
import { type TensorType, tensorTypes } from '../../engine/tensorTypes.js';
import { convolvedTiles, headTiles, placeInFolder, type Tiles, tilesOf } from '../../families/deltaHeads.js';
import { convolvedWidth, kindOf, type LayerRow, rowShape, rowsAt, sizesAt, widthOf } from '../../families/family.js';
import type { HfSettings } from '../../families/huggingFace.js';
import type { StoredTensor, TensorSource } from '../../formats/safetensors.js';
import { perLayerTensors } from '../../model/perLayer.js';
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
  /** Rows, or the values of each row, that stand in another order. */
  readonly tiles?: { readonly of: Tiles; readonly along: 'rows' | 'row' };
  /** Each value becomes the negative of its power of e. */
  readonly asRates?: boolean;
}

/** Vision and audio towers of multimodal checkpoints, which another file of llama.cpp's would hold (base.py, TextModel.filter_tensors). */
const otherSenses =
  /^(?:mlp|vit\.|vpm\.|siglip2\.|conformer\.|merger\.|resampler\.)|visual\.|vision\.|audio\.|vision_|audio_|projector\./;

/** Constants that old versions saved beside the weights. */
const leftOvers = /(?:\.attention\.masked_bias|\.attention\.bias|\.rotary_emb\.inv_freq)$/;

/** Layers that draft what a model may write on, which its forward pass has no part of: `--no-mtp` of llama.cpp's converter. */
const drafts = /^(?:model\.)?mtp\./;

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
  /** A dimension of 1 stands behind the first in the folder; in f32. */
  readonly between?: boolean;
  readonly tiles?: PlannedTensor['tiles'];
  readonly asRates?: boolean;
}

/** Every tensor that may be in the folder, by its name there, with what becomes of it; and those that must be. */
function targets(
  settings: HfSettings,
  tokens: number,
  taps: number,
): { all: Map<string, Target[]>; required: Set<string> } {
  const { family, embedding } = settings;
  const { normShift: shift, cutsEmbeddings: cut } = family.huggingFace.tensors ?? {};
  const all = new Map<string, Target[]>();
  const required = new Set<string>();
  const add = (hf: string, target: Target, must = true) => {
    all.set(hf, [...(all.get(hf) ?? []), target]);
    if (must) required.add(hf);
  };
  const table = [settings.vocabulary, embedding];
  add('model.embed_tokens.weight', { name: 'token_embd.weight', shape: cut ? [tokens, embedding] : table, cut });
  const { name: norm, module } = family.outputNorm ?? { name: 'output_norm', module: 'norm' };
  add(`model.${module}.weight`, { name: `${norm}.weight`, shape: [embedding], shift });
  add('lm_head.weight', { name: 'output.weight', shape: table }, !settings.tied);
  if (settings.perLayer) {
    const { perLayer, layers } = settings;
    const { table, projection, norm } = perLayerTensors;
    add('model.embed_tokens_per_layer.weight', { name: `${table}.weight`, shape: [tokens, perLayer * layers] });
    add('model.per_layer_model_projection.weight', {
      name: `${projection}.weight`,
      shape: [perLayer * layers, embedding],
    });
    add('model.per_layer_projection_norm.weight', { name: `${norm}.weight`, shape: [perLayer] });
  }
  for (let l = 0; l < settings.layers; l++) {
    const own = sizesAt(settings, l);
    const addRow = (row: LayerRow, must?: boolean) => {
      const [hf, gguf] = [`model.layers.${l}.${row.module}`, `blk.${l}.${row.name}`];
      if (!('inputs' in row)) {
        const { stored = row.name, width, unshifted, bare } = row;
        const norm = { name: `blk.${l}.${stored}.weight`, shape: [widthOf(own, width)] };
        add(bare ? hf : `${hf}.weight`, { ...norm, shift: unshifted ? undefined : shift }, must);
        return;
      }
      const [inputs, outputs] = rowShape(own, row);
      const { interleaved } = row;
      const of = tilesOf(settings, row);
      const tiles = of && ({ of, along: row.tiled === 'inputs' ? 'row' : 'rows' } as const);
      add(`${hf}.weight`, { name: `${gguf}.weight`, shape: [outputs, inputs], interleaved, tiles }, must);
      if (row.bias) add(`${hf}.bias`, { name: `${gguf}.bias`, shape: [outputs], interleaved }, false);
    };
    const rows = rowsAt(settings, l);
    for (const row of rows) addRow(row);
    // Published folders have keys and values that nothing attends to, and so has the file made of them.
    if (kindOf(settings, l) === 'sharedKeys') {
      for (const row of family.layer) if (!rows.includes(row) && row.only) addRow(row, false);
    }
    if (kindOf(settings, l) === 'convolution') {
      const kernel = { name: `blk.${l}.shortconv.conv.weight`, shape: [embedding, taps], between: true };
      add(`model.layers.${l}.${family.block.convolution!.module}.weight`, kernel);
    }
    if (kindOf(settings, l) === 'delta') addDelta(settings, l, taps, add);
  }
  return { all, required };
}

/** What a layer with a delta net has beside linears and norms. */
function addDelta(settings: HfSettings, l: number, taps: number, add: (hf: string, target: Target) => void): void {
  const delta = settings.delta!;
  const at = `model.layers.${l}.${settings.family.block.deltaNet!.module}`;
  const rows = (of: Tiles | undefined) => of && ({ of, along: 'rows' } as const);
  const shape = [convolvedWidth(settings), taps];
  add(`${at}.conv1d.weight`, {
    name: `blk.${l}.ssm_conv1d.weight`,
    shape,
    between: true,
    tiles: rows(convolvedTiles(delta)),
  });
  const heads = headTiles(delta);
  const perHead = { shape: [delta.valueHeads], tiles: heads && ({ of: heads, along: 'row' } as const) };
  add(`${at}.dt_bias`, { name: `blk.${l}.ssm_dt.bias`, ...perHead });
  add(`${at}.A_log`, { name: `blk.${l}.ssm_a`, ...perHead, asRates: true });
}

/** Tokens that the convolutions are over, as their kernels have it. */
function tapsOf(tensors: ReadonlyMap<string, StoredTensor>, { family }: HfSettings): number {
  const { convolution, deltaNet } = family.block;
  const module = deltaNet ? `${deltaNet.module}.conv1d` : convolution?.module;
  const kernel = module && [...tensors].find(([name]) => name.endsWith(`.${module}.weight`));
  return kernel ? (kernel[1].shape.at(-1) ?? 1) : 1;
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
  const { all, required } = targets(settings, tokens, tapsOf(tensors, settings));
  const planned = new Map<string, PlannedTensor>();
  for (const source of inConverterOrder(tensors)) {
    if (leftOvers.test(source) || otherSenses.test(source)) continue;
    if (settings.family.block.deltaNet && drafts.test(source)) continue;
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
    const expected = [rows, ...(parts[0]!.between ? [1] : []), ...parts[0]!.shape.slice(1)];
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
    for (const { name, shape, shift = 0, interleaved, between, tiles, asRates } of parts) {
      if (planned.has(name)) problems.add(`two tensors for ${name}`);
      const type = between ? tensorTypes.f32 : typeOf(name, shape, wanted);
      const interleavedHeads = interleaved && settings[interleaved];
      const how = { shift, interleavedHeads, tiles, asRates };
      planned.set(name, { name, type, shape: [...shape].reverse(), source, stored, firstRow, ...how });
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

/** The values as f32 (exact), or what they become; in f16 where they are stored so, as torch computes it. */
function decode(bytes: Uint8Array, { stored: { dtype }, shift, asRates }: PlannedTensor): Float32Array {
  const { buffer, byteOffset, byteLength } = bytes;
  const halves = () => new Uint16Array(buffer, byteOffset, byteLength / 2);
  const values =
    dtype === 'f32'
      ? new Float32Array(buffer, byteOffset, byteLength / 4)
      : dtype === 'bf16'
        ? bfloatsToFloats(halves())
        : halvesToFloats(halves());
  if (shift === 0 && !asRates) return values;
  const shifted = values.map((value) => (asRates ? -Math.exp(value) : value + shift));
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

/** The values of each row in the order of GGUF; `bytes` of a value, `width` values in a row. */
function moveWithin(rows: Uint8Array, { bytes, width }: { bytes: number; width: number }, tiles: Tiles): Uint8Array {
  const out = new Uint8Array(rows.length);
  for (let row = 0; row < rows.length; row += width * bytes) {
    for (let i = 0; i < width; i++) {
      const from = row + placeInFolder(tiles, i) * bytes;
      out.set(rows.subarray(from, from + bytes), row + i * bytes);
    }
  }
  return out;
}

/** Bits of the exponent: all of them are set in what is no finite number. */
const exponents: Readonly<Record<string, number>> = { f32: 0x7f800000, f16: 0x7c00, bf16: 0x7f80 };

/** @throws LoamError, with what it says, for infinities and NaN */
function requireFinite(bytes: Uint8Array, dtype: string, fault: Pick<Fault, 'found' | 'fix'>): void {
  const mask = exponents[dtype];
  if (mask === undefined) return;
  const { buffer, byteOffset, byteLength } = bytes;
  const values =
    dtype === 'f32'
      ? new Uint32Array(buffer, byteOffset, byteLength / 4)
      : new Uint16Array(buffer, byteOffset, byteLength / 2);
  for (let i = 0; i < values.length; i++) {
    if ((values[i]! & mask) === mask) throw new LoamError({ code: 'invalid-data', ...fault });
  }
}

/** The data of a planned tensor, piece by piece. */
export async function* tensorPieces(plan: PlannedTensor, source: TensorSource): AsyncGenerator<Uint8Array, void> {
  const { stored, type, shape, shift, interleavedHeads, tiles, asRates } = plan;
  const [width, rows = 1] = shape as [number, number?];
  const unchanged = type.name === stored.dtype && shift === 0 && !asRates;
  const bytes = (stored.bytes / stored.shape[0]!) * shape.at(-1)!;
  const start = (stored.bytes / stored.shape[0]!) * plan.firstRow;
  const moved = tiles?.along === 'rows' ? tiles.of : undefined;
  // A bias is permuted as well; its rows are single values.
  const units = interleavedHeads ?? (moved ? rows / moved.unit : rows);
  const unitBytes = bytes / units;
  const together = interleavedHeads === undefined && !moved;
  const step = together ? Math.max(1, Math.floor(PIECE / unitBytes)) : 1;
  for (let unit = 0; unit < units; unit += step) {
    const taken = Math.min(step, units - unit);
    const at = moved ? placeInFolder(moved, unit * moved.unit) / moved.unit : unit;
    let piece = await source.readPart(plan.source, start + at * unitBytes, taken * unitBytes);
    if (interleavedHeads !== undefined) piece = interleave(piece, shape.at(-1)! / interleavedHeads);
    if (tiles?.along === 'row') piece = moveWithin(piece, { bytes: bytes / rows / width, width }, tiles.of);
    const name = quote(plan.source);
    requireFinite(piece, stored.dtype, { found: `values of ${name} that are no finite numbers` });
    const written = unchanged ? piece : encode(decode(piece, plan), type, width);
    const fix = 'convert to bf16 or f32 with --type';
    requireFinite(written, type.name, { found: `values of ${name} beyond what ${type.name} holds`, fix });
    yield written;
  }
}
