import { LoamError, quote } from '../../base/errors.js';
import type { ImportanceMatrix } from '../../engine/quantize.js';
import { openTensors } from '../../formats/gguf/Gguf.js';
import { readGguf } from '../../formats/gguf/readGguf.js';

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
