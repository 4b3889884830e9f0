import { LoamError } from '../util/errors.js';
import { writeAll } from '../util/writeAll.js';
import { writeFileAtomic } from '../util/writeFileAtomic.js';
import { arrayPieces } from './arrayPieces.js';
import { checkShape } from './checkShape.js';
import type { ArrayToWrite } from './dtypes.js';
import { encodeNpyHeader } from './npyHeader.js';

/**
 * Writes an array for numpy.load: version 1.0, C order, little endian. bf16 has no name in numpy and becomes `<V2`, as with ml_dtypes:
 * `numpy.load(path).view(ml_dtypes.bfloat16)`. The file appears only when complete.
 * @throws LoamError where the data are not as long as type and shape say
 */
export async function writeNpy(path: string, array: ArrayToWrite): Promise<void> {
  const problem = checkShape(array);
  if (problem !== undefined) throw new LoamError({ found: `a shape with ${problem}`, where: path });
  await writeFileAtomic(path, async (file) => {
    await writeAll(file, encodeNpyHeader(array));
    for await (const piece of arrayPieces(array, path)) await writeAll(file, piece);
  });
}
