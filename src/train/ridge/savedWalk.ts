import type { Model } from '../../model/model.js';
import { HiddenStates, type WalkedSequence, Walker } from '../../model/walker.js';
import type { RidgeExample } from './examples.js';
import { refill, type SavedRidge, type Store, type Stores } from './state.js';

/** A student's walk through the layers, which goes back to where it was saved as often as a sweep begins. */
export class SavedWalk implements AsyncDisposable {
  private saved: HiddenStates | undefined;

  protected constructor(
    private readonly model: Model,
    readonly examples: readonly RidgeExample[],
    readonly walker: Walker,
  ) {}

  /** What it needs to stand where it stands, and to go back. */
  get held(): Stores {
    return new Map<string, Store>([
      ['student', this.walker.hidden],
      ...(this.saved ? [['saved', this.saved] as const] : []),
    ]);
  }

  /** Puts it where it stood. */
  async goOn(from: SavedRidge): Promise<void> {
    if (from.has('saved')) this.saved = await this.like(this.walker.hidden.sizes);
    await refill(this.held, from);
  }

  /** Remembers where the walk is, for `restore`. */
  async save(): Promise<void> {
    this.saved ??= await this.like(this.walker.hidden.sizes);
    await this.walker.hidden.copyTo(this.saved);
  }

  /** Goes back to where `save` was called. */
  async restore(): Promise<void> {
    await this.saved!.copyTo(this.walker.hidden);
  }

  /** A walker of its own over some batches, standing where `save` was called. */
  protected async savedSample(batches: readonly number[]): Promise<Walker> {
    const { openingTokens } = this.walker;
    const groups = batches.map((index) => this.walker.batches[index]!.batch);
    const hidden = await this.like(batches.map((index) => this.saved!.sizes[index]!));
    for (const [i, index] of batches.entries()) await hidden.write(i, await this.saved!.read(index));
    return Walker.at(afterOpening(this.examples, openingTokens.length), groups, openingTokens, hidden);
  }

  private like(sizes: readonly number[]): Promise<HiddenStates> {
    return HiddenStates.create(sizes, this.model.engine.scratch);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.walker[Symbol.asyncDispose]();
    await this.saved?.[Symbol.asyncDispose]();
  }
}

/** The student's sequences without what they all begin with. */
export function afterOpening(examples: readonly RidgeExample[], opening: number): WalkedSequence[] {
  return examples.map(({ student: { tokens, positions } }) => ({
    tokens: tokens.subarray(opening),
    positions: positions.map((at) => at - opening),
  }));
}
