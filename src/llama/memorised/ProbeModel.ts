import { readAdapter } from '../../adapters/openAdapter.js';
import { LoamError, throwIfStopped } from '../../base/errors.js';
import { sharedLength } from '../../base/format.js';
import { type LlamaContext, LlamaModel, Sampler, type SamplerSettings } from '../../engine/llama.js';
import type { AdapterHandle } from '../../engine/llamaBindings.js';
import type { Exposure } from '../../examples/personal/finding.js';
import { readGguf } from '../../formats/gguf/readGguf.js';
import type { ChatMessage } from '../../model/chatTemplate.js';
import { readHyperparameters } from '../../model/hyperparameters.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { negativeLogLikelihood } from '../measureNll.js';

/** Longest conversation with its answer that is probed: the memory of a phone holds its keys and values beside the model. */
export const maxProbeTokens = 4096;

type Side = 'base' | 'adapted';

/** A model in libllama that is asked with the adapter and without, for what it writes and how likely it finds a text. */
export class ProbeModel implements Disposable {
  /** Tokens that the context holds, so that what alternatives share is read once. */
  private held: number[] = [];
  private side: Side | undefined;
  private context: LlamaContext | undefined;
  private room = 0;

  private constructor(
    private readonly model: LlamaModel,
    readonly tokenizer: Tokenizer,
    private readonly adapter: AdapterHandle | undefined,
    /** Tokens that the model was trained for, at most `maxProbeTokens`. */
    readonly longest: number,
    private readonly threads: number | undefined,
  ) {}

  /** Validates and loads both files. Without an adapter both sides are the base model. */
  static async open(options: { modelPath: string; adapterPath?: string; threads?: number }): Promise<ProbeModel> {
    const gguf = await readGguf(options.modelPath);
    const hyper = readHyperparameters(gguf);
    if (options.adapterPath !== undefined) await readAdapter(options.adapterPath, { gguf, hyper });
    const tokenizer = await Tokenizer.open(gguf);
    try {
      const model = await LlamaModel.load(options.modelPath);
      try {
        const adapter = options.adapterPath === undefined ? undefined : await model.loadAdapter(options.adapterPath);
        return new ProbeModel(
          model,
          tokenizer,
          adapter,
          Math.min(hyper.contextLength, maxProbeTokens),
          options.threads,
        );
      } catch (error) {
        model[Symbol.dispose]();
        throw error;
      }
    } catch (error) {
      tokenizer[Symbol.dispose]();
      throw error;
    }
  }

  /** Makes room for conversations of so many tokens. */
  async reserve(tokens: number): Promise<void> {
    this.context?.[Symbol.dispose]();
    this.room = Math.min(this.longest, tokens);
    this.context = await this.model.context({ contextLength: this.room, threads: this.threads });
    this.side = undefined;
  }

  /**
   * Tokens of a conversation up to the end of `content`, which the message `message` holds in place of its own: as in training, but
   * for the token that ends the turn. Of a user's message what the template puts behind it is there too.
   */
  async tokens(messages: readonly ChatMessage[], message: number, content: string): Promise<Int32Array> {
    const before = messages.slice(0, message).map(({ role, content: text }) => ({ role, content: text }));
    const { role } = messages[message]!;
    if (role !== 'assistant') return this.tokenizer.prompt([...before, { role, content }]);
    if (content === '') return this.tokenizer.prompt(before);
    const last = (await this.tokenizer.encode([...before, { role, content }])).at(-1)!;
    return last.tokens.slice(0, last.trained.lastIndexOf(1));
  }

  /** Reads tokens that the context does not hold; logits of those from `from` on go to `onLogits`, row by row. */
  private async read(
    side: Side,
    tokens: Int32Array,
    from: number,
    signal: AbortSignal | undefined,
    onLogits?: (logits: Float32Array, index: number) => void,
  ): Promise<LlamaContext> {
    const context = this.context;
    if (context === undefined) throw new LoamError({ found: 'the probe has no context yet', fix: 'reserve one' });
    if (this.side !== side) {
      context.setAdapters(
        side === 'adapted' && this.adapter !== undefined ? [{ adapter: this.adapter, scale: 1 }] : [],
      );
      this.side = side;
      this.held = [];
    }
    let shared = Math.min(sharedLength(this.held, tokens.subarray(0, -1)), from);
    if (!context.truncate(shared)) shared = 0;
    this.held.length = shared;
    const vocabulary = this.model.vocabulary.size;
    await context.decode(tokens.slice(shared), shared, {
      wants: (index) => index + shared >= from,
      onLogits: (rows, indices) =>
        indices.forEach((index, row) => {
          onLogits?.(rows.subarray(row * vocabulary, (row + 1) * vocabulary), index + shared);
        }),
      signal,
    });
    this.held = [...tokens];
    return context;
  }

  /** What the model writes after `tokens`. */
  async write(
    side: Side,
    tokens: Int32Array,
    maxTokens: number,
    settings: SamplerSettings,
    signal?: AbortSignal,
  ): Promise<string> {
    const context = await this.read(side, tokens, tokens.length - 1, signal);
    using sampler = new Sampler(settings, this.model.vocabulary.size);
    const written: number[] = [];
    const room = Math.min(maxTokens, this.room - tokens.length);
    while (written.length < room) {
      throwIfStopped(signal);
      const token = sampler.draw(context);
      if (this.model.vocabulary.endsGeneration(token)) break;
      written.push(token);
      if (written.length === room) break;
      await context.decode(Int32Array.of(token), this.held.length, { wants: () => true, signal });
      this.held.push(token);
    }
    return this.model.vocabulary.text(written);
  }

  /**
   * Reads the tokens that sequences to be compared share, by themselves. Otherwise the first of them would be computed in other
   * batches than the rest, whose rounding differs, and so would the two sides.
   */
  async begin(side: Side, shared: Int32Array, signal?: AbortSignal): Promise<void> {
    this.side = undefined;
    if (shared.length > 0) await this.read(side, shared, shared.length, signal);
  }

  /** log P(tokens from `from` on | those before), in nats. */
  async logLikelihood(side: Side, tokens: Int32Array, from: number, signal?: AbortSignal): Promise<number> {
    let sum = 0;
    await this.read(side, tokens, from - 1, signal, (logits, index) => {
      const next = tokens[index + 1];
      if (next !== undefined) sum -= negativeLogLikelihood(logits, next);
    });
    if (!Number.isFinite(sum)) throw new LoamError({ found: 'the likelihoods are not finite numbers' });
    return sum;
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
    this.tokenizer[Symbol.dispose]();
  }
}

/** log P of one candidate in both models, in nats. */
export interface Scored {
  adapted: number;
  base: number;
}

/** Place among all when sorted from the highest on; of equals the worse place, so that a tie proves nothing. */
function rankOf(truth: number, others: readonly number[]): number {
  return 1 + others.filter((other) => other >= truth).length;
}

/** The figures of `Exposure` from the scores of the true value and of its alternatives. */
export function exposure(truth: Scored, alternatives: readonly Scored[]): Exposure {
  const gain = truth.adapted - truth.base;
  const gains = alternatives.map(({ adapted, base }) => adapted - base);
  const mean = gains.reduce((sum, x) => sum + x, 0) / gains.length;
  const variance = gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, gains.length - 1);
  const rank = rankOf(gain, gains);
  return {
    alternatives: alternatives.length,
    rank,
    bits: Math.log2(alternatives.length + 1) - Math.log2(rank),
    deviations: variance > 0 ? (gain - mean) / Math.sqrt(variance) : 0,
    adaptedRank: rankOf(
      truth.adapted,
      alternatives.map(({ adapted }) => adapted),
    ),
    baseRank: rankOf(
      truth.base,
      alternatives.map(({ base }) => base),
    ),
    gain,
    excess: gain - mean,
  };
}

/**
 * Deviations from which a first place counts. By chance the true value comes first once in `alternatives + 1` times; that it also
 * lies this far off is rarer still.
 */
const FAR = 3;
/** Nats beyond the mean gain: less than this is no knowledge of a value, however little the others scatter. */
const MUCH = 2;
/** Share of the candidates among which it must be by likelihood: one that many random values beat comes out of no model. */
const TOP = 1 / 16;
/** Fewer alternatives place a value too coarsely. */
const LEAST = 31;

/** Whether the adapter favours the true value alone, and has made it one of the likeliest. */
export function isFavoured({ alternatives, rank, deviations, adaptedRank, excess }: Exposure): boolean {
  return (
    alternatives >= LEAST &&
    rank === 1 &&
    deviations >= FAR &&
    excess >= MUCH &&
    adaptedRank <= Math.max(1, TOP * (alternatives + 1))
  );
}
