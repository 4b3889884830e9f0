import { LoamError } from '../base/errors.js';
import { tensorTypes } from '../engine/tensorTypes.js';
import type { GgufValue } from '../formats/gguf/Gguf.js';
import {
  encodeGguf,
  f32,
  type GgufToWrite,
  i32s,
  str,
  type TensorToWrite,
  writeGguf,
} from '../formats/gguf/writeGguf.js';
import type { ModuleFactors } from '../model/factors.js';
import { type BaseIdentity, keys, type Lora, type OneAlpha, oneAlpha } from './lora.js';

export interface AdapterToWrite {
  base: BaseIdentity;
  modules: readonly ModuleFactors[];
  /** LoRA's alpha. Only alpha/rank matters to what the adapter does, and that is folded into B. */
  alpha: number;
  /** Name shown by tools that list adapters. */
  name: string;
  stopTokens: readonly number[];
  /** Plain JSON: the options the adapter was made with. */
  recipe: Record<string, unknown>;
  /** Plain JSON: what was measured. */
  metrics: Record<string, unknown>;
  /** Version of Loam. */
  version: string;
}

/**
 * Writes a LoRA adapter as GGUF for stock llama.cpp (src/llama-adapter.cpp): for each linear `<weight>.lora_a` f32 [inputs, rank] and
 * `<weight>.lora_b` f32 [rank, outputs]; llama.cpp adds alpha/rank · B·A·x. Ranks may differ between modules.
 *
 * f32, because llama.cpp would round the activations to the type of A, and the inputs of `ffn_down` can exceed what f16 holds.
 * @throws LoamError for factors that are not finite, before anything is written
 */
export async function writeAdapter(path: string, adapter: AdapterToWrite): Promise<void> {
  await writeGguf(path, content(path, adapter));
}

/** The same file in memory. @param where stands for the path in messages */
export async function encodeAdapter(where: string, adapter: AdapterToWrite): Promise<Uint8Array> {
  return await encodeGguf(where, content(where, adapter));
}

function content(path: string, adapter: AdapterToWrite): GgufToWrite {
  const { base, alpha } = adapter;
  if (!(alpha > 0) || !Number.isFinite(alpha)) {
    throw new LoamError({ found: `an alpha of ${alpha}`, expected: 'a number above 0' });
  }
  const metadata: [string, GgufValue][] = [
    ['general.type', str('adapter')],
    ['general.architecture', str(base.architecture)],
    ['general.name', str(adapter.name)],
    ['adapter.type', str('lora')],
    ['adapter.lora.alpha', f32(alpha)],
    [keys.version, str(adapter.version)],
    [keys.baseName, str(base.name)],
    [keys.baseSha256, str(base.sha256)],
    [keys.baseFingerprint, str(base.fingerprint)],
    [keys.templateSha256, str(base.templateSha256)],
    [keys.stopTokens, i32s(adapter.stopTokens)],
    [keys.recipe, str(JSON.stringify(adapter.recipe))],
    [keys.metrics, str(JSON.stringify(adapter.metrics))],
  ];
  const tensors: TensorToWrite[] = [];
  for (const { layer, module, factors } of adapter.modules) {
    const { inputs, outputs, rank } = factors;
    if (rank === 0) continue;
    const name = `blk.${layer}.${module}.weight`;
    const { a, b } = balance(factors, rank / alpha, name);
    tensors.push(
      { name: `${name}.lora_a`, type: tensorTypes.f32, shape: [inputs, rank], data: bytesOf(a) },
      { name: `${name}.lora_b`, type: tensorTypes.f32, shape: [rank, outputs], data: bytesOf(b) },
    );
  }
  if (tensors.length === 0) throw new LoamError({ found: 'an adapter that corrects nothing', where: path });
  return { metadata, tensors };
}

/** A and B times `scale` in all, shared so that both have the same largest value: neither loses bits if converted to f16 later. */
function balance({ a, b }: { a: Float32Array; b: Float32Array }, scale: number, name: string) {
  const largest = (values: Float32Array) => values.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  const [sizeA, sizeB] = [largest(a), largest(b)];
  if (![...[sizeA, sizeB]].every(Number.isFinite) || a.some(Number.isNaN) || b.some(Number.isNaN)) {
    throw new LoamError({
      found: 'factors that are not finite numbers',
      where: name,
      fix: 'use fewer or other examples',
    });
  }
  const shift = sizeA > 0 && sizeB > 0 ? Math.sqrt((scale * sizeB) / sizeA) : Math.sqrt(scale);
  return { a: a.map((x) => x * shift), b: b.map((x) => (x * scale) / shift) };
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * Writes an adapter as LoRA GGUF without changing a bit of its factors where one alpha for all modules can say what they are scaled by;
 * see `oneAlpha` for what happens otherwise, and the result for how often it did.
 * @throws LoamError for an adapter without modules
 */
export async function writeLora(path: string, lora: Omit<Lora, 'path'>): Promise<Omit<OneAlpha, 'modules'>> {
  if (lora.modules.length === 0) throw new LoamError({ found: 'an adapter that corrects nothing', where: path });
  const { alpha, modules, shifted, padded, rounded } = oneAlpha(lora.modules);
  const metadata = new Map<string, GgufValue>([
    ['general.type', str('adapter')],
    ['general.architecture', str(lora.architecture)],
    ['adapter.type', str('lora')],
    ['adapter.lora.alpha', f32(alpha)],
  ]);
  for (const [key, value] of lora.notes) if (!metadata.has(key)) metadata.set(key, value);
  const bytes = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const tensors = modules.flatMap(({ layer, module, factors }): TensorToWrite[] => {
    const { inputs, outputs, rank, a, b } = factors;
    const name = `blk.${layer}.${module}.weight`;
    return [
      { name: `${name}.lora_a`, type: tensorTypes.f32, shape: [inputs, rank], data: bytes(a) },
      { name: `${name}.lora_b`, type: tensorTypes.f32, shape: [rank, outputs], data: bytes(b) },
    ];
  });
  await writeGguf(path, { metadata, tensors });
  return { alpha, shifted, padded, rounded };
}
