import { LoamError } from '../base/errors.js';
import { bytes } from '../base/format.js';
import { freeBytes } from '../base/io.js';
import { otherFolder } from '../base/spillFile.js';
import { widestMixed } from '../families/family.js';
import { batchTokens } from '../model/batch.js';
import { type Hyperparameters, streamWidth } from '../model/hyperparameters.js';
import type { Model } from '../model/model.js';
import { sliceBytes } from '../model/slices/sliceFile.js';
import { placeStores } from '../model/walker.js';
import { groupExamples, type RidgeExample } from './ridge/examples.js';

/**
 * Room for what does not fit into memory: activations between two layers, of all examples. How much a stage needs is known before it
 * begins, and whether the disk has it is looked at then.
 */

/** Bytes in memory and on the disk. */
export interface Room {
  memory: number;
  disk: number;
}

/**
 * What ridge holds at most. In the order of `fitRidge`: the teacher's streams; the student's, and where label sweeps begin; after the
 * teacher has gone the gradient of the labels, and a sample of the student's, which is at most all of them, twice.
 */
export function ridgeRoom(
  hyper: Hyperparameters,
  examples: readonly RidgeExample[],
  { teaches = true, sweeps }: { teaches?: boolean; sweeps: number },
): Room {
  const { embedding, family } = hyper;
  const width = streamWidth(hyper);
  const mixed = family.isForeign ? hyper.heads * hyper.headDim : widestMixed(hyper);
  const { opening, student, teacher } = groupExamples(examples);
  const tokens = (batches: typeof student, more: number) =>
    batches.reduce((sum, batch) => sum + batchTokens(batch, more), 0);
  const rows = (batches: typeof student) =>
    batches.reduce((sum, { members }) => sum + members.reduce((n, i) => n + examples[i]!.targets.length, 0), 0);
  const streams = 4 * embedding * rows(teacher);
  const walked = 4 * width * tokens(student, opening);
  const taught = placeStores(teaches ? [4 * width * tokens(teacher, 0), streams, streams] : []);
  const context = 4 * mixed * tokens(student, opening);
  const learnt = placeStores([walked, context, ...(sweeps > 0 ? [walked] : [])], taught.memory);
  const gradient = 4 * embedding * rows(student);
  const swept = placeStores([gradient, ...(sweeps > 0 ? [walked, walked] : [])], learnt.memory);
  return {
    memory: learnt.memory + Math.max(taught.memory, swept.memory),
    disk: learnt.disk + Math.max(taught.disk, swept.disk),
  };
}

/** Layers of a slice, at most, of nearly all models. */
const sliceLayers = 4;

/** The same of a model that is walked in slices, with one of them, which lies on the disk. */
export function slicesRoom(
  { hyper, gguf }: Pick<Model, 'hyper' | 'gguf'>,
  examples: readonly RidgeExample[],
  how: { sweeps: number },
): Room {
  const { memory, disk } = ridgeRoom(hyper, examples, how);
  return { memory, disk: disk + sliceBytes(gguf, Math.min(sliceLayers, hyper.layers)) };
}

/** @param what stands before "needs" @throws LoamError (disk-full) if a folder has less than `need` bytes free */
export async function requireRoom(folder: string, need: number, what: string): Promise<void> {
  if (need === 0) return;
  const have = await freeBytes(folder);
  if (have === null || have >= need) return;
  throw new LoamError({
    code: 'disk-full',
    found: `${what} needs ${bytes(need)} of disk while it runs, and ${bytes(have)} are free`,
    where: folder,
    fix: otherFolder(folder),
  });
}
