import { basename } from 'node:path';
import Type, { type Static } from 'typebox';
import Value from 'typebox/value';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { slotPath } from './checkpointFile.js';
import { packState, type QloraState, unpackState } from './qlora/state.js';
import type { RunFolder } from './runFolder.js';
import type { RidgeRecipe } from './settings.js';

/** When checkpoints of the gradient stage are written, and what a run finds of an earlier one that it can go on from. */

/** Seconds between checkpoints, at least; a step that takes longer is followed by one. Tests that kill runs want more of them. */
const shortestPause = Number(process.env.LOAM_CHECKPOINT_SECONDS ?? 15);
/** Checkpoints may take so much of the time, at most: on slow storage they become rarer. */
const timeShare = 0.05;
/** Longest pause between checkpoints, however slow the storage: this much work may be lost. */
const longestPause = 60;

/** What came before the state of training: the stages that it builds on, and what was decided by price. */
const StageRecord = Type.Object({
  firstLayer: Type.Integer(),
  epochs: Type.Number(),
  recompute: Type.Boolean(),
  ridge: Type.Optional(
    Type.Object({
      recipe: Type.Unsafe<RidgeRecipe>(Type.Object({})),
      teacherNll: Type.Partial(
        Type.Object({ train: Type.Number(), validation: Type.Number(), heldout: Type.Number() }),
      ),
    }),
  ),
});
export type StageRecord = Static<typeof StageRecord>;
/** What the ridge stage leaves beside its corrections. */
export type RidgeRecord = NonNullable<StageRecord['ridge']>;

/** A checkpoint that a run can go on from. */
export interface Resumable {
  state: QloraState;
  record: StageRecord;
  slot: 0 | 1;
  damaged: readonly { file: string; reason: string }[];
}

/** The newest whole checkpoint of a run; undefined if there is none, or none of this version. `reasons` are clauses that say why. */
export async function findCheckpoint(folder: RunFolder): Promise<{ resumable?: Resumable; reasons: string[] }> {
  const { checkpoint, damaged } = await readCheckpoint(folder.path, folder.key);
  const reasons = damaged.map(({ file, reason }) => `${basename(file)}: ${reason}`);
  if (!checkpoint) return { reasons };
  const { header, arrays, slot } = checkpoint;
  const { record } = header;
  const state = unpackState(header, arrays);
  if (state && Value.Check(StageRecord, record)) return { resumable: { state, record, slot, damaged }, reasons };
  return { reasons: [...reasons, `${basename(slotPath(folder.path, slot))}: another version of Loam wrote it`] };
}

/** Writes the checkpoints of one run. */
export class Checkpoints {
  private last = performance.now();
  /** Seconds that the last one took. */
  private took = 0;
  private slot: 0 | 1 | 'auto' = 'auto';

  constructor(
    private readonly folder: RunFolder,
    private readonly record: StageRecord,
    resumed: Resumable | undefined,
  ) {
    // After a resume the first write must not replace the checkpoint that was whole.
    if (resumed) this.slot = resumed.slot === 0 ? 1 : 0;
  }

  async save(state: QloraState): Promise<void> {
    const begun = performance.now();
    const { header, arrays } = packState(state);
    const whole = { ...header, record: this.record };
    await writeCheckpoint(this.folder.path, this.slot, whole, arrays, this.folder.key);
    this.slot = 'auto';
    this.last = performance.now();
    this.took = (this.last - begun) / 1000;
  }

  /** Saves the state after a step if it is time. */
  async afterStep(step: number, state: () => QloraState): Promise<void> {
    const since = (performance.now() - this.last) / 1000;
    const pause = shortestPause > 0 ? Math.max(shortestPause, this.took / timeShare) : 0;
    if (step === 0 || since >= Math.min(longestPause, pause)) await this.save(state());
  }
}
