import { LoamError } from '../base/errors.js';
import type { AdapterHandle } from '../engine/llamaBindings.js';
import { negativeLogLikelihood } from './likelihood.js';
import { Session } from './Session.js';

/** A token sequence with the positions of the tokens whose likelihood counts. */
export interface ScoredSequence {
  tokens: Int32Array;
  /** Positions of the scored tokens, ascending, none of them 0. */
  targets: Int32Array;
}

/** How measuring is followed, and stopped. */
export interface MeasuringOptions {
  /** Told how many of all sequences have been read. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/** Which model is measured: the base alone, or with the adapter. */
export type Measured = 'base' | 'adapted';

/** Tokens of context beyond the longest sequence: libllama rounds its cache up anyway. */
const margin = 16;
/**
 * Tokens that are read at once at least, and sequences: two questions with four answers. More would be little faster, and the more stand
 * side by side the more the last bits differ from those of one that is read alone, which weights of four bits make figures of.
 */
const together = { tokens: 512, sequences: 8 } as const;

/**
 * A base model in stock libllama, and an adapter for it, to be measured: what other programs will see, not what our own graph computes.
 * Each sequence is measured by itself, however many are read at once.
 */
export class Yardstick implements Disposable {
  private constructor(
    readonly session: Session,
    private readonly paths: { model: string; adapter: string | undefined },
    private readonly adapter: AdapterHandle | undefined,
  ) {}

  /**
   * The files must have passed `readGguf` and `openAdapter`.
   * @param sequences the longest that will be measured is among them
   */
  static async open(
    modelPath: string,
    adapterPath: string | undefined,
    sequences: readonly ScoredSequence[],
    threads?: number,
  ): Promise<Yardstick> {
    const longest = sequences.reduce((max, { tokens }) => Math.max(max, tokens.length), 0);
    // In place: the measuring must not need more memory than the tuning before it.
    const session = await Session.open(modelPath, {
      contextLength: Math.max(longest + margin, together.tokens),
      sequences: together.sequences,
      threads,
      inPlace: true,
    });
    try {
      const adapter = adapterPath === undefined ? undefined : await session.loadAdapter(adapterPath);
      return new Yardstick(session, { model: modelPath, adapter: adapterPath }, adapter);
    } catch (error) {
      session[Symbol.dispose]();
      throw error;
    }
  }

  /** What there is to be measured. */
  get sides(): readonly Measured[] {
    return this.adapter === undefined ? ['base'] : ['base', 'adapted'];
  }

  /**
   * Of each sequence the sum of -log p over its targets, in nats.
   * @throws LoamError when one is not a finite number
   */
  async scores(
    sequences: readonly ScoredSequence[],
    side: Measured,
    options: MeasuringOptions = {},
  ): Promise<number[]> {
    const { session, paths } = this;
    this.session.wear(side === 'adapted' ? this.adapter : undefined);
    const sums = sequences.map(() => 0);
    const asked = sequences.map(({ tokens, targets }) => ({ tokens, wanted: targets.map((position) => position - 1) }));
    let done = 0;
    const onRead = (count: number) => {
      done += count;
      options.onProgress?.(done, sequences.length);
    };
    await session.readAll(
      asked,
      (logits, members, position) => {
        // Of sequences that have been alike so far most go on alike.
        const known = new Map<number, number>();
        for (const member of members) {
          const token = sequences[member]!.tokens[position + 1]!;
          if (!known.has(token)) known.set(token, negativeLogLikelihood(logits, token));
          sums[member]! += known.get(token)!;
        }
      },
      { signal: options.signal, onRead },
    );
    const sum = sums.reduce((total, one) => total + one, 0);
    if (side === 'adapted') requireFinite(sum, paths.adapter!, 'adapter');
    else requireFinite(sum, paths.model, 'model');
    return sums;
  }

  [Symbol.dispose](): void {
    this.session[Symbol.dispose]();
  }
}

/** @throws LoamError for a sum of likelihoods that is no number @param where the file of the model or the adapter that is to blame */
function requireFinite(sum: number, where: string, what: 'model' | 'adapter'): void {
  if (Number.isFinite(sum)) return;
  throw new LoamError({
    code: 'damaged',
    found: `${what === 'adapter' ? 'with this adapter' : 'in this model'} the likelihoods are not finite numbers`,
    where,
    fix: what === 'adapter' ? 'use another adapter' : 'fetch the model again, or use another',
  });
}
