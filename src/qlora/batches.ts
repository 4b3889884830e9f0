import { type Batch, groupSequences } from '../model/batch.js';
import { Random } from '../util/random.js';

/** Random streams: the order of examples, and that of steps. */
const streams = { examples: 0xba7c, steps: 0x57e9 } as const;
/** Steps whose examples are sorted together: long ones meet long ones, so that little is padded, and chance still mixes them. */
const bucketSteps = 8;

/** One optimiser step: its examples in groups that are computed one after the other and whose gradients add up. */
export type StepPlan = Batch[];

/**
 * The steps of one epoch: every sequence once, in an order that is a pure function of (seed, epoch).
 * @param lengths tokens of each sequence
 * @param batch sequences a step
 * @param tokens tokens computed at once, at most (a longer sequence stands alone)
 */
export function planEpoch(
  lengths: readonly number[],
  { batch, tokens, seed, epoch }: { batch: number; tokens: number; seed: number; epoch: number },
): StepPlan[] {
  const order = new Random(seed, streams.examples + epoch).shuffle(lengths.map((_, i) => i));
  const steps: number[][] = [];
  for (let at = 0; at < order.length; at += batch * bucketSteps) {
    const bucket = order.slice(at, at + batch * bucketSteps).sort((i, j) => lengths[i]! - lengths[j]! || i - j);
    for (let from = 0; from < bucket.length; from += batch) steps.push(bucket.slice(from, from + batch));
  }
  return new Random(seed, streams.steps + epoch).shuffle(steps).map((members) =>
    groupSequences(
      members.map((i) => lengths[i]!),
      tokens,
    ).map((group) => ({ ...group, members: group.members.map((i) => members[i]!) })),
  );
}
