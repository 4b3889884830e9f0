import { LoamError } from '../util/errors.js';
import { quote } from '../util/quote.js';
import { writeAll } from '../util/writeAll.js';
import { writeFileAtomic } from '../util/writeFileAtomic.js';
import { arrayPieces } from './arrayPieces.js';
import { checkShape } from './checkShape.js';
import { arrayBytes, type NamedArrayToWrite } from './dtypes.js';
import { MAX_SAFETENSORS_HEADER } from './limits.js';
import { encodeSafetensorsHeader, type SafetensorsEntry } from './safetensorsHeader.js';

/**
 * Writes tensors as a safetensors file, in the order given; data are written as they are produced. The file appears only when complete.
 * @param metadata texts by key; Hugging Face's libraries want `format` to be `pt`
 * @throws LoamError for names that stand twice, and data of another length than stated
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<NamedArrayToWrite>,
  metadata: Iterable<readonly [string, string]> = [],
): Promise<void> {
  const list = [...tensors];
  const names = new Set<string>();
  let offset = 0;
  const entries = list.map((tensor): SafetensorsEntry => {
    const { name, dtype, shape } = tensor;
    const where = `${path}, tensor ${quote(name)}`;
    if (name === '__metadata__') throw new LoamError({ found: 'a name that the format keeps for itself', where });
    if (names.has(name)) throw new LoamError({ found: 'the same name twice', where });
    names.add(name);
    const problem = checkShape(tensor);
    if (problem !== undefined) throw new LoamError({ found: `a shape with ${problem}`, where });
    const entry = { name, dtype, shape, offset, bytes: arrayBytes(tensor) };
    offset += entry.bytes;
    return entry;
  });
  const header = encodeSafetensorsHeader(entries, new Map(metadata));
  if (header.length - 8 > MAX_SAFETENSORS_HEADER) {
    throw new LoamError({ found: 'more names than a header takes', expected: 'at most 100 MB', where: path });
  }
  await writeFileAtomic(path, async (file) => {
    await writeAll(file, header);
    for (const tensor of list) {
      for await (const piece of arrayPieces(tensor, `${path}, tensor ${quote(tensor.name)}`))
        await writeAll(file, piece);
    }
  });
}
