import { tensorTypes } from '../ggml/tensorTypes.js';
import { f32, str } from '../gguf/buildValues.js';
import type { GgufValue } from '../gguf/values.js';
import { type TensorToWrite, writeGguf } from '../gguf/writeGguf.js';
import { LoamError } from '../util/errors.js';
import type { Lora } from './lora.js';
import { type OneAlpha, oneAlpha } from './oneAlpha.js';

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
