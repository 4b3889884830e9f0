import { readMemory } from '../base/memory.js';
import { liesInMemory } from '../base/spillFile.js';
import type { Model } from '../model/model.js';
import { Corrections } from './corrections.js';
import type { Quote, QuotedChoice } from './events.js';
import type { RunContext } from './lab.js';
import type { TuneOptions } from './options.js';
import { type LayerCosts, measureCosts, priceQlora, type QloraPrice } from './qlora/costs.js';
import type { QloraProblem, QloraSettings } from './qlora/state.js';

/** What training by gradients takes on this device, for any choice of layers and epochs. What is chosen stands in `plan.ts`. */

/** Memory that must stay free for everything else. */
const reserveBytes = 64 << 20;

/** What a choice of settings takes. */
export interface TrainingPrice {
  settings: QloraSettings;
  /** As estimated from measured costs, `memoryBytes` of the whole process. */
  estimated: QloraPrice;
  /** As it is told: corrected by what earlier runs on this device took. */
  told: QuotedChoice;
}

type Problem = Pick<QloraProblem, 'train' | 'validation' | 'replay'>;

/** Prices of one run: costs that were measured on this device, and the memory that is there. */
export class PriceList {
  private readonly memory = readMemory();

  private constructor(
    private readonly model: Model,
    private readonly problem: Problem,
    /** What is wanted, if memory and time allow it. */
    readonly wanted: QloraSettings,
    readonly costs: LayerCosts,
    private readonly learnt: { corrections: Corrections; key: string },
    /** What lies in the run's folder takes memory. */
    readonly diskIsMemory: boolean,
  ) {}

  /** @param key of `priceKey` */
  static async measure(context: RunContext, problem: Problem, wanted: QloraSettings, key: string): Promise<PriceList> {
    const corrections = await Corrections.open();
    const costs = await measureCosts(context, problem.train, wanted);
    const diskIsMemory = await liesInMemory(context.model.engine.scratch);
    return new PriceList(context.model, problem, wanted, costs, { corrections, key }, diskIsMemory);
  }

  /** Layers of the model, all of which could be trained. */
  get layers(): number {
    return this.model.hyper.layers;
  }

  /** Bytes of memory that are free. */
  get freeBytes(): number {
    return this.memory.available;
  }
  /** Bytes that this process could use: those, and what it holds. */
  get usableBytes(): number {
    return this.memory.available + this.memory.rss;
  }

  /** @param changes to what is wanted */
  of(changes: Partial<QloraSettings>): TrainingPrice {
    const settings = { ...this.wanted, ...changes };
    const { costs, learnt, memory } = this;
    const { firstLayer } = settings;
    const plain = priceQlora(this.model, costs, this.problem, settings);
    const estimated = { ...plain, memoryBytes: memory.rss + plain.memoryBytes };
    const told = {
      layers: this.layers - firstLayer,
      seconds: plain.seconds * learnt.corrections.correctionFor(`time.${learnt.key}`),
      memoryBytes:
        learnt.corrections.correctionFor(`memory.${learnt.key}`) * estimated.memoryBytes +
        (this.diskIsMemory ? plain.diskBytes : 0),
      diskBytes: this.diskIsMemory ? 0 : plain.diskBytes,
    };
    return { settings, estimated, told };
  }

  fits({ told }: TrainingPrice): boolean {
    return told.memoryBytes + reserveBytes <= this.usableBytes;
  }

  /**
   * Price and truth of a run that has ended, which later prices learn from.
   * @param run.whole whether it went through its schedule: one that ended early says nothing of the time of a whole one
   */
  async compare(
    { told, estimated }: TrainingPrice,
    { seconds, joules, whole }: { seconds: number; joules: number | undefined; whole: boolean },
  ): Promise<{ quoted: QuotedChoice; truth: Quote }> {
    const { corrections, key } = this.learnt;
    const { peakRss } = readMemory();
    const truth = { seconds, memoryBytes: peakRss, diskBytes: told.diskBytes, energyJoules: joules };
    if (whole) await corrections.learn(`time.${key}`, estimated.seconds, seconds);
    await corrections.learn(`memory.${key}`, estimated.memoryBytes, peakRss);
    return { quoted: told, truth };
  }
}

/** What this device's earlier prices are remembered by. @param model sha256 */
export function priceKey({ method }: Pick<TuneOptions, 'method'>, model: string): string {
  return `${method} ${model.slice(0, 12)}`;
}
