import { basename } from 'node:path';
import { isDiskFull } from '../base/errors.js';
import { isRecord } from '../base/json.js';
import { readCheckpoint, readStream, STREAM, type Stream, writeCheckpoint } from './checkpoint.js';
import { type CheckpointHeader, type Slot, slotPath } from './checkpointFile.js';
import type { TuneEvent } from './events.js';
import { packState, type QloraState, unpackState } from './qlora/state.js';
import {
  packRidge,
  type RidgeKeeper,
  type RidgeState,
  type SavedRidge,
  type Store,
  type Stores,
  unpackRidge,
} from './ridge/state.js';
import type { RunFolder } from './runFolder.js';
import type { RidgeRecipe } from './settings.js';

/** When a run's checkpoints are written, and what it finds of an earlier one that it can go on from. */

/** Seconds between checkpoints, at least; a step that takes longer is followed by one. Tests that kill runs want more of them. */
const shortestPause = Number(process.env.LOAM_CHECKPOINT_SECONDS ?? 15);
/** Checkpoints may take so much of the time, at most: on slow storage they become rarer. */
const timeShare = 0.05;
/** Longest pause between checkpoints, however slow the storage: this much work may be lost. */
const longestPause = 60;

/** What came before the state of training: the stages that it builds on, and what was decided by price. */
export interface StageRecord {
  firstLayer: number;
  epochs: number;
  microTokens: number;
  ridge?: { recipe: RidgeRecipe; teacherNll: { train?: number; validation?: number; heldout?: number } };
}

/** By hand: a library of schemas would take as long to load as all else that a command needs. */
function isStageRecord(value: unknown): value is StageRecord {
  if (!isRecord(value) || !Number.isInteger(value.firstLayer)) return false;
  if (!Number.isFinite(value.epochs) || !Number.isInteger(value.microTokens)) return false;
  const { ridge } = value;
  if (ridge === undefined) return true;
  if (!isRecord(ridge) || !isRecord(ridge.recipe) || !isRecord(ridge.teacherNll)) return false;
  const { train, validation, heldout } = ridge.teacherNll;
  return [train, validation, heldout].every((nll) => nll === undefined || Number.isFinite(nll));
}

/** What the ridge stage leaves beside its corrections. */
export type RidgeRecord = NonNullable<StageRecord['ridge']>;

/** A checkpoint that a run can go on from, of the stage that it was in. */
export type Resumable = ResumableTraining | ResumableRidge;

interface Found {
  slot: Slot;
  damaged: readonly { file: string; reason: string }[];
  /** How far it is, for sentences: "step 12". */
  at: string;
}

export interface ResumableTraining extends Found {
  stage: 'qlora';
  state: QloraState;
  record: StageRecord;
}

export interface ResumableRidge extends Found {
  stage: 'ridge';
  saved: SavedRidge;
}

/** The newest whole checkpoint of a run; undefined if there is none, or none of this version. `reasons` are clauses that say why. */
export async function findCheckpoint(folder: RunFolder): Promise<{ resumable?: Resumable; reasons: string[] }> {
  const { checkpoint, damaged } = await readCheckpoint(folder.path, folder.key);
  const reasons = damaged.map(({ file, reason }) => `${basename(file)}: ${reason}`);
  if (!checkpoint) return { reasons };
  const { header, arrays, slot, streams } = checkpoint;
  const ridge = unpackRidge(header, arrays);
  if (ridge) {
    const saved: SavedRidge = {
      state: ridge,
      has: (stream) => streams.has(STREAM + stream),
      read: (stream, sizes) => readStream({ folder: folder.path, slot, key: folder.key }, STREAM + stream, sizes),
    };
    return { resumable: { stage: 'ridge', saved, slot, damaged, at: placeOf(ridge) }, reasons };
  }
  const { record } = header;
  const state = unpackState(header, arrays);
  if (state && isStageRecord(record)) {
    return { resumable: { stage: 'qlora', state, record, slot, damaged, at: `step ${state.step}` }, reasons };
  }
  return { reasons: [...reasons, `${basename(slotPath(folder.path, slot))}: another version of Loam wrote it`] };
}

/** Says which newer checkpoints were passed over. */
export function tellDamaged(emit: (event: TuneEvent) => void, { damaged }: Resumable): void {
  for (const { file, reason } of damaged) {
    emit({ type: 'warning', message: `${file} is damaged (${reason}); resuming from the checkpoint before it` });
  }
}

function placeOf({ layer, swept, ended }: RidgeState): string {
  if (ended) return 'the end of ridge';
  return swept ? `pass ${swept.best.sweeps + 1}, layer ${layer}` : `layer ${layer}`;
}

/** Writes checkpoints of a run one after the other, and knows when it is time for the next one. */
class Writer {
  private last = performance.now();
  /** Seconds that the last one took. */
  private took = 0;
  private slot: Slot | 'auto' = 'auto';

  constructor(
    private readonly folder: RunFolder,
    resumed: Found | undefined,
  ) {
    // After a resume the first write must not replace the checkpoint that was whole.
    if (resumed) this.slot = resumed.slot === 0 ? 1 : 0;
  }

  get due(): boolean {
    const since = (performance.now() - this.last) / 1000;
    const pause = shortestPause > 0 ? Math.max(shortestPause, this.took / timeShare) : 0;
    return since >= Math.min(longestPause, pause);
  }

  async write(header: CheckpointHeader, arrays: ReadonlyMap<string, Float32Array | Stream>): Promise<void> {
    const begun = performance.now();
    await writeCheckpoint(this.folder.path, this.slot, header, arrays, this.folder.key);
    this.slot = 'auto';
    this.wait(begun);
  }

  /** The next one is due as if one had been written that began then. */
  wait(begun: number): void {
    this.last = performance.now();
    this.took = (this.last - begun) / 1000;
  }
}

/** Writes the checkpoints of one run's training. */
export class Checkpoints {
  private readonly writer: Writer;

  constructor(
    folder: RunFolder,
    private readonly record: StageRecord,
    resumed: ResumableTraining | undefined,
  ) {
    this.writer = new Writer(folder, resumed);
  }

  async save(state: QloraState): Promise<void> {
    const { header, arrays } = packState(state);
    await this.writer.write({ ...header, record: this.record }, arrays);
  }

  /** Saves the state after a step if it is time. */
  async afterStep(step: number, state: () => QloraState): Promise<void> {
    if (step === 0 || this.writer.due) await this.save(state());
  }
}

/** Writes the checkpoints of one run's ridge stage, and has the one to go on from. */
export class RidgeCheckpoints implements RidgeKeeper {
  readonly resumed: SavedRidge | undefined;
  private readonly writer: Writer;
  private lacksRoom = false;

  /** @param tell told once if there is no room for them */
  constructor(
    folder: RunFolder,
    resumed: ResumableRidge | undefined,
    private readonly tell: (message: string) => void,
  ) {
    this.resumed = resumed?.saved;
    this.writer = new Writer(folder, resumed);
  }

  /** Saves the state if it is time, and in any case the last one. */
  async afterLayer(state: () => RidgeState, stores: Stores): Promise<void> {
    const isLast = stores.size === 0;
    if (!isLast && !this.writer.due) return;
    const { header, arrays } = packRidge(state());
    const all = new Map<string, Float32Array | Stream>(arrays);
    for (const [name, store] of stores) all.set(STREAM + name, streamOf(store));
    const begun = performance.now();
    try {
      await this.writer.write(header, all);
    } catch (error) {
      // The run is worth more than its checkpoints, which may be larger than what it computes.
      if (!isDiskFull(error)) throw error;
      this.writer.wait(begun);
      if (!this.lacksRoom)
        this.tell(
          'the disk has no room for a checkpoint of ridge: a run that is stopped now goes on from an earlier one, or starts over',
        );
      this.lacksRoom = true;
    }
  }
}

function streamOf(store: Store): Stream {
  return {
    length: store.sizes.reduce((sum, n) => sum + n, 0),
    async *blocks() {
      for (let block = 0; block < store.sizes.length; block++) yield await store.read(block);
    },
  };
}
