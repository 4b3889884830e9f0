import { fingerprints } from '../adapters/fingerprint.js';
import type { AdapterToWrite } from '../adapters/loraGguf.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import type { ModuleFactors } from '../model/factors.js';

/** An adapter of a tiny model, ready to be written: its modules, and what a test says otherwise than here. */
export async function tinyAdapter(
  model: Gguf | string,
  modules: readonly ModuleFactors[],
  changes: Partial<AdapterToWrite> = {},
): Promise<AdapterToWrite> {
  const gguf = typeof model === 'string' ? await readGguf(model) : model;
  const base = {
    architecture: gguf.string('general.architecture'),
    name: 'tiny',
    sha256: 'a'.repeat(64),
    fingerprint: (await fingerprints(gguf)).whole,
    templateSha256: 'b'.repeat(64),
    stopTokens: [2],
  };
  return { base, modules, alpha: 16, name: 'test', recipe: {}, metrics: {}, ...changes };
}
