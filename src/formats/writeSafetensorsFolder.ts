import { join } from 'node:path';
import { LoamError } from '../util/errors.js';
import { quote } from '../util/quote.js';
import { writeFileAtomic } from '../util/writeFileAtomic.js';
import { arrayBytes, type NamedArrayToWrite } from './dtypes.js';
import { writeSafetensors } from './writeSafetensors.js';

export interface SafetensorsFolderOptions {
  /** Bytes of tensors a file, more only where one tensor has more. Default 5 GB, as transformers does. */
  shardBytes?: number;
  /** Default `format: pt`, which Hugging Face's libraries ask for. */
  metadata?: Iterable<readonly [string, string]>;
}

/**
 * Writes the weights of a model folder: `model.safetensors`, or several files and `model.safetensors.index.json` where they are larger than
 * `shardBytes`. The index, without which nobody finds the parts, comes last. Throws as `writeSafetensors`.
 * @returns names of the files written
 */
export async function writeSafetensorsFolder(
  folder: string,
  tensors: Iterable<NamedArrayToWrite>,
  { shardBytes = 5e9, metadata = [['format', 'pt']] }: SafetensorsFolderOptions = {},
): Promise<string[]> {
  const shards: NamedArrayToWrite[][] = [];
  let filled = Number.POSITIVE_INFINITY;
  let total = 0;
  const names = new Set<string>();
  for (const tensor of tensors) {
    if (names.has(tensor.name)) {
      throw new LoamError({ found: 'the same name twice', where: `${folder}, tensor ${quote(tensor.name)}` });
    }
    names.add(tensor.name);
    const bytes = arrayBytes(tensor);
    if (filled + bytes > shardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(tensor);
    filled += bytes;
    total += bytes;
  }
  if (shards.length < 2) {
    await writeSafetensors(join(folder, 'model.safetensors'), shards[0] ?? [], metadata);
    return ['model.safetensors'];
  }
  const padded = (n: number) => String(n).padStart(5, '0');
  const written: string[] = [];
  const places: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = `model-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`;
    await writeSafetensors(join(folder, file), shard, metadata);
    written.push(file);
    for (const { name } of shard) places.push([name, file]);
  }
  const map = places.map(([name, file]) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`).join(',\n');
  const index = `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${map}\n  }\n}\n`;
  await writeFileAtomic(join(folder, 'model.safetensors.index.json'), index);
  return [...written, 'model.safetensors.index.json'];
}
