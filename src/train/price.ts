import type { Reading } from '../base/device/Reading.js';
import { thisDevice } from '../base/device/thisDevice.js';
import { readMemory } from '../base/memory.js';
import { liesInMemory } from '../base/spillFile.js';
import { outputBytes } from '../engine/llama.js';
import type { Model } from '../model/model.js';
import { Corrections } from './corrections.js';
import type { Taken } from './DeviceLog.js';
import type { Quote, QuotedChoice } from './events.js';
import type { RunContext } from './lab.js';
import type { TuneOptions } from './options.js';
import {
  type LayerCosts,
  layerSeconds,
  measureCosts,
  priceQlora,
  type QloraPrice,
  valuesOfLayer,
} from './qlora/costs.js';
import type { QloraProblem, QloraSettings } from './qlora/state.js';

/** What training by gradients takes on this device, for any choice of layers and epochs. What is chosen stands in `plan.ts`. */

/** Memory that must stay free for everything else. */
const reserveBytes = 64 << 20;

/** Tokens of libllama's cache while an adapter is measured, about. */
const measuredTokens = 512;

/**
 * Bytes that measuring an adapter of so many values takes beyond what the process holds: the model's whole file, mapped; keys and values
 * in f16, logits, twice; and the adapter as it was trained, as a file, and as libllama has it.
 */
export function measuringBytes({ gguf, hyper }: Model, values: number): number {
  const cache = 2 * 2 * hyper.kvHeads * hyper.headDim * hyper.layers * measuredTokens;
  return gguf.size + cache + 2 * outputBytes + 3 * 4 * values;
}

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
    private readonly costs: LayerCosts,
    private readonly learnt: { corrections: Corrections; key: string },
    /** What lies in the run's folder takes memory. */
    readonly diskIsMemory: boolean,
    private readonly reading: Reading,
    /** Bytes that the run may take, by the user's word. */
    private readonly allowed: number,
  ) {}

  /** @param hash sha256 of the model */
  static async measure(
    context: RunContext,
    problem: Problem,
    wanted: QloraSettings,
    { method, memory = Number.POSITIVE_INFINITY }: Pick<TuneOptions, 'method' | 'memory'>,
    hash: string,
  ): Promise<PriceList> {
    const corrections = await Corrections.open();
    const costs = await measureCosts(context, problem.train, wanted);
    const diskIsMemory = await liesInMemory(context.model.engine.scratch);
    return new PriceList(
      context.model,
      problem,
      wanted,
      costs,
      // What this device's earlier prices are remembered by.
      { corrections, key: `${method} ${hash.slice(0, 12)}` },
      diskIsMemory,
      await thisDevice().read(),
      1e6 * memory,
    );
  }

  /** Layers of the model, all of which could be trained. */
  get layers(): number {
    return this.model.hyper.layers;
  }

  /** Bytes of memory that are free. */
  get freeBytes(): number {
    return this.memory.available;
  }
  /** Bytes that this process could use: those, and what it holds, less a reserve; or what it is allowed. */
  get usableBytes(): number {
    return Math.min(this.allowed, this.memory.available + this.memory.rss - reserveBytes);
  }

  /** Seconds of a forward pass over so many tokens. */
  forwardSeconds(tokens: number): number {
    const { microTokens } = this.wanted;
    return (this.layers * layerSeconds(this.costs, 'forward', microTokens) * tokens) / microTokens;
  }

  /** @param changes to what is wanted */
  of(changes: Partial<QloraSettings>): TrainingPrice {
    const settings = { ...this.wanted, ...changes };
    const { costs, learnt, memory } = this;
    const { firstLayer } = settings;
    const plain = priceQlora(this.model, costs, this.problem, settings);
    const values = (this.layers - firstLayer) * valuesOfLayer(this.model, settings);
    const most = Math.max(plain.memoryBytes, measuringBytes(this.model, values));
    const estimated = { ...plain, memoryBytes: memory.rss + most };
    const seconds = plain.seconds * learnt.corrections.correctionFor(`time.${learnt.key}`);
    const told = {
      layers: this.layers - firstLayer,
      seconds,
      memoryBytes:
        learnt.corrections.correctionFor(`memory.${learnt.key}`) * estimated.memoryBytes +
        (this.diskIsMemory ? plain.diskBytes : 0),
      diskBytes: this.diskIsMemory ? 0 : plain.diskBytes,
      ...this.power(seconds),
    };
    return { settings, estimated, told };
  }

  /** Energy and heat, as far as earlier runs on this device have told. The share of the battery only where the run would be on it. */
  private power(seconds: number): Taken {
    const { corrections } = this.learnt;
    const { battery } = this.reading;
    const [watts, drain, heat] = [corrections.rate('watts'), corrections.rate('drain'), corrections.rate('heat')];
    return {
      ...(watts !== undefined && { energyJoules: watts * seconds }),
      ...(drain !== undefined && battery && !battery.charging && { batteryPercent: (drain * seconds) / 3600 }),
      ...(heat !== undefined && { peakCelsius: heat }),
    };
  }

  /** Percent that are left in the battery that a run would be on. */
  get batteryLeft(): number | undefined {
    const { battery } = this.reading;
    return battery && !battery.charging ? battery.percent : undefined;
  }

  fits({ told }: TrainingPrice): boolean {
    return told.memoryBytes <= this.usableBytes;
  }

  /**
   * Price and truth of a run that has ended, which later prices learn from.
   * @param run.whole whether it went through its schedule: one that ended early says nothing of the time of a whole one
   */
  async compare(
    { told, estimated }: TrainingPrice,
    { seconds, taken, whole }: { seconds: number; taken: Taken; whole: boolean },
  ): Promise<{ quoted: QuotedChoice; truth: Quote }> {
    const { corrections, key } = this.learnt;
    const { peakRss } = readMemory();
    const truth = { seconds, memoryBytes: peakRss, diskBytes: told.diskBytes, ...taken };
    if (whole) await corrections.learn(`time.${key}`, estimated.seconds, seconds);
    await corrections.learn(`memory.${key}`, estimated.memoryBytes, peakRss);
    await this.learnPower(seconds, taken);
    return { quoted: told, truth };
  }

  private async learnPower(seconds: number, { energyJoules, batteryPercent, peakCelsius }: Taken): Promise<void> {
    const { corrections } = this.learnt;
    if (energyJoules !== undefined && seconds >= leastSeconds)
      await corrections.learnRate('watts', energyJoules / seconds);
    if (batteryPercent !== undefined && batteryPercent >= leastPercent)
      await corrections.learnRate('drain', (3600 * batteryPercent) / seconds);
    if (peakCelsius !== undefined && seconds >= leastSeconds) await corrections.learnRate('heat', peakCelsius);
  }
}

/** Percent and seconds below which what a gauge shows is its own step rather than what was taken. */
const leastPercent = 2;
const leastSeconds = 60;
