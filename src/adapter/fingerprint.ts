import { createHash } from 'node:crypto';
import type { Gguf } from '../gguf/Gguf.js';
import { openTensors } from '../gguf/GgufFile.js';

/**
 * Identity of a base model that survives quantisation: sha256 over its architecture, its tokens, and its norm weights, which every
 * quantiser leaves in f32. Two quantisations of one model agree, a fine-tune of it does not.
 * @returns hex
 */
export async function baseFingerprint(gguf: Gguf): Promise<string> {
  const hash = createHash('sha256');
  hash.update(`${gguf.string('general.architecture')}\n`);
  for (const token of gguf.strings('tokenizer.ggml.tokens', [])) hash.update(`${token}\n`);
  await using file = await openTensors(gguf);
  // By name, because writers order tensors differently.
  for (const name of [...gguf.tensors.keys()].sort()) {
    const tensor = gguf.tensors.get(name)!;
    if (!name.endsWith('norm.weight') || tensor.shape.length !== 1 || tensor.type.name !== 'f32') continue;
    hash.update(`${name}\n`);
    hash.update(await file.read(name));
  }
  return hash.digest('hex');
}
