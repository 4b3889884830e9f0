import { SpillFile } from '../../base/spillFile.js';
import { toHalf } from '../../engine/rows.js';
import { batchTokens, groupSequences, paddedTokens, sharedBlock, streamInputs, tokenIndex } from '../../model/batch.js';
import { LayerGraph } from '../../model/block.js';
import { streamWidth } from '../../model/hyperparameters.js';
import { eachLayer } from '../../model/model.js';
import { HiddenStates, placeStores } from '../../model/walker.js';
import type { Lab } from '../lab.js';
import { ownLengths, type TrainSequence } from './trainStep.js';

/** Bytes kept in memory; a larger cache lies in a file. */
const memoryBudget = 128 << 20;

/**
 * Activations that enter the first trained layer, f16, one block per sequence: computed once, read in every epoch. In memory up to a
 * budget, else in a `SpillFile`.
 */
export class ActivationCache implements AsyncDisposable {
  private readonly memory: Uint16Array[] = [];

  private constructor(
    private readonly tokens: readonly number[],
    private readonly width: number,
    private readonly spill: SpillFile | undefined,
  ) {}

  /** Bytes of a cache for sequences of these lengths. */
  static bytes(tokens: readonly number[], width: number): number {
    return 2 * width * tokens.reduce((sum, n) => sum + n, 0);
  }

  /** Whether a cache of this size goes to disk. */
  static usesDisk(bytes: number, budget = memoryBudget): boolean {
    return bytes > budget;
  }

  static async create(
    tokens: readonly number[],
    width: number,
    folder: string,
    budget = memoryBudget,
  ): Promise<ActivationCache> {
    const spills = ActivationCache.usesDisk(ActivationCache.bytes(tokens, width), budget);
    const blocks = tokens.map((n) => 2 * n * width);
    return new ActivationCache(tokens, width, spills ? await SpillFile.create(blocks, folder) : undefined);
  }

  private shared: Uint16Array | undefined;

  /** What all sequences begin with, [width, opening]; kept in memory. */
  setOpening(block: Uint16Array): void {
    this.shared = block;
  }
  get opening(): Uint16Array {
    if (!this.shared) throw new Error('the opening was read before it was written');
    return this.shared;
  }

  /** The block of a sequence, [width, tokens]. */
  async write(sequence: number, block: Uint16Array): Promise<void> {
    if (block.length !== this.tokens[sequence]! * this.width) {
      throw new RangeError(`${block.length} values for sequence ${sequence}`);
    }
    if (this.spill) await this.spill.write(sequence, block);
    else this.memory[sequence] = block;
  }

  /** Sequences one after the other, each padded with zeros to `length` tokens: [width, length·members]. */
  async gather(members: readonly number[], length: number): Promise<Uint16Array> {
    const out = new Uint16Array(members.length * length * this.width);
    await Promise.all(
      members.map(async (sequence, i) => {
        const at = i * length * this.width;
        const into = out.subarray(at, at + this.tokens[sequence]! * this.width);
        const block = this.memory[sequence];
        if (this.spill) await this.spill.read(sequence, into);
        else if (block) into.set(block);
        else throw new Error(`block ${sequence} was read before it was written`);
      }),
    );
    return out;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.memory.length = 0;
    await this.spill?.[Symbol.asyncDispose]();
  }
}

/** Bytes that `enteringActivations` takes: of the walk, and of the cache that stays. Nothing if all layers are trained. */
export function enteringRoom(
  sequences: readonly TrainSequence[],
  { firstLayer, opening }: { firstLayer: number; opening: number },
  width: number,
): { walk: { memory: number; disk: number }; cache: { memory: number; disk: number } } {
  const lengths = firstLayer > 0 ? ownLengths(sequences, opening) : [];
  const tokens = groupSequences(lengths).reduce((sum, batch) => sum + batchTokens(batch), 0);
  const cache = ActivationCache.bytes(lengths, width);
  const onDisk = ActivationCache.usesDisk(cache);
  return {
    walk: placeStores([4 * width * tokens]),
    cache: { memory: onDisk ? 0 : cache, disk: onDisk ? cache : 0 },
  };
}

/**
 * Walks all sequences through the layers below `firstLayer`, which training does not change, and keeps what comes out, divided by
 * the model's `embeddingScale`.
 * @param opening tokens that all sequences begin with
 * @param onBatch tokens that have passed one layer
 */
export async function enteringActivations(
  { model, workspace, signal }: Lab,
  sequences: readonly TrainSequence[],
  { firstLayer, opening }: { firstLayer: number; opening: number },
  onBatch: (tokens: number) => void,
): Promise<ActivationCache> {
  const width = streamWidth(model.hyper);
  const lengths = ownLengths(sequences, opening);
  const groups = groupSequences(lengths);
  await using hidden = await HiddenStates.create(
    groups.map((batch) => width * batchTokens(batch)),
    model.engine.scratch,
  );
  let shared: Float32Array | undefined;

  const embed = async (tokens: Int32Array) => {
    const g = workspace.begin();
    const x = g.output(model.embed(g, g.input('i32', [tokens.length], tokens)));
    await g.compute(signal);
    return x.toFloat32();
  };
  const first = sequences[0]?.tokens.slice(0, opening) ?? new Int32Array(0);
  if (opening > 0) shared = await embed(first);
  const tokensOf = (member: number) => sequences[member]!.tokens.subarray(opening);
  const laidOut = groups.map((batch) => paddedTokens(batch, tokensOf, first));
  for (const [index, batch] of groups.entries())
    await hidden.write(index, await embed(laidOut[index]!.subarray(0, batchTokens(batch))));

  const walk = async (layer: Parameters<Parameters<typeof eachLayer>[2]>[0]) => {
    let after: Float32Array | undefined;
    for (const [index, batch] of groups.entries()) {
      const g = workspace.begin();
      const own = g.input('f32', [width, batchTokens(batch)], await hidden.read(index));
      const x = shared ? g.concat(own, g.input('f32', [width, opening], shared), 1) : own;
      const tokens = g.input('i32', [x.ne[1]], laidOut[index]!);
      const inputs = streamInputs(g, batch, tokens, opening, model.ropeFactors);
      const out = g.output(sharedBlock(new LayerGraph(g, model.hyper, layer), x, inputs));
      await g.compute(signal);
      const values = out.toFloat32();
      await hidden.write(index, values.subarray(0, own.elements));
      // The same in every batch.
      if (shared) after ??= values.slice(own.elements);
      onBatch(batchTokens(batch));
    }
    shared = after;
  };
  await eachLayer(model, 0, walk, firstLayer);

  const cache = await ActivationCache.create(lengths, width, model.engine.scratch);
  // As large as embeddings make them, streams exceed what f16 holds.
  const { embeddingScale } = model.hyper;
  const half = (stream: Float32Array) => toHalf(embeddingScale === 1 ? stream : stream.map((x) => x / embeddingScale));
  try {
    if (shared) cache.setOpening(half(shared));
    for (const [index, batch] of groups.entries()) {
      const states = await hidden.read(index);
      for (const [row, member] of batch.members.entries()) {
        const from = tokenIndex(batch, row, 0) * width;
        await cache.write(member, half(states.subarray(from, from + lengths[member]! * width)));
      }
    }
    return cache;
  } catch (error) {
    await cache[Symbol.asyncDispose]();
    throw error;
  }
}
