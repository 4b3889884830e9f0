import { Random } from '../../base/random.js';
import { type Batch, groupSequences } from '../../model/batch.js';
import { LoraParameters } from './parameters.js';
import type { QloraProblem, QloraSettings } from './state.js';
import { expectedRows, ownLengths, type StepData, type TrainContext, type TrainSequence } from './trainStep.js';

/**
 * Replay: beside the examples that a step learns it reads a few general ones, and what the model predicts there is held to what it
 * predicted before training, by the gradient of the KL divergence (as in Learning without Forgetting, Li and Hoiem 2016). No answer
 * has to be generated for it: the whole distribution is held, at every token of answers that lie ready.
 */

/** Stream of random numbers: the order of general examples. */
const stream = 0x9e97;

/** Which general examples go with which step: a pure function of the seed and the step. */
export class ReplayOrder {
  private cycle: { number: number; order: number[] } | undefined;

  /** @param count of general examples @param rate of them a step */
  constructor(
    private readonly count: number,
    readonly rate: number,
  ) {}

  /** Indices among the general examples. @param step counts from 1 */
  of(seed: number, step: number): number[] {
    const [from, to] = [step - 1, step].map((n) => Math.floor(n * this.rate));
    return Array.from({ length: to! - from! }, (_, i) => this.at(seed, from! + i));
  }

  private at(seed: number, position: number): number {
    const number = Math.floor(position / this.count);
    if (this.cycle?.number !== number) {
      const order = new Random(seed, stream + number).shuffle(Array.from({ length: this.count }, (_, i) => i));
      this.cycle = { number, order };
    }
    return this.cycle.order[position % this.count]!;
  }
}

/**
 * Weight of the answers that lie ready in what is held, the rest being what the model predicts: a correct plain answer pulls back to
 * plain answering where a prediction alone only does not push away.
 */
const taught = 0.3;

/** What a graph of its own costs besides its tokens, in tokens. */
const graphTokens = 16;

/**
 * A step's groups with further members: few graphs, since each computes the opening anew, and little padding.
 * @param lengths of all sequences without the opening
 * @param tokens of a group, at most, unless it has one member
 */
export function withMembers(
  plan: readonly Batch[],
  members: readonly number[],
  lengths: readonly number[],
  { tokens, opening }: { tokens: number; opening: number },
): Batch[] {
  if (members.length === 0) return [...plan];
  const all = [...plan.flatMap((group) => group.members), ...members];
  const sorted = all.sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  // Of every beginning of the list the cheapest grouping: its cost, and where its last group begins.
  const best = [{ cost: 0, from: 0 }];
  for (let to = 1; to <= sorted.length; to++) {
    let found = { cost: Number.POSITIVE_INFINITY, from: to - 1 };
    for (let from = to - 1; from >= 0; from--) {
      const padded = lengths[sorted[from]!]! * (to - from);
      if (padded > tokens && from < to - 1) continue;
      const cost = best[from]!.cost + padded + opening + graphTokens;
      if (cost < found.cost) found = { cost, from };
    }
    best.push(found);
  }
  const groups: Batch[] = [];
  for (let to = sorted.length; to > 0; to = best[to]!.from) {
    const chosen = sorted.slice(best[to]!.from, to);
    groups.unshift({ members: chosen, length: lengths[chosen[0]!]!, lengths: chosen.map((i) => lengths[i]!) });
  }
  return groups;
}

/** Factor of the gradients of what a step holds, so that a token of it counts `weight` times one that is learnt. */
export function holdFactor(
  plan: readonly Batch[],
  sequences: readonly TrainSequence[],
  { weight, rate }: { weight: number; rate: number },
): number {
  let [learnt, held] = [0, 0];
  for (const member of plan.flatMap(({ members }) => members)) {
    const { targets, expected } = sequences[member]!;
    if (expected) held += targets.length;
    else learnt += targets.length;
  }
  // Held in every other step only, it counts twice there.
  return held > 0 ? (weight * learnt) / held / Math.min(1, rate) : 1;
}

/**
 * The general examples with what the model predicts on them as training begins, `start` included.
 * @param read of a batch of all sequences
 */
export async function heldSequences(
  context: TrainContext,
  problem: QloraProblem,
  { microTokens }: QloraSettings,
  read: (batch: Batch) => Promise<StepData>,
  advance: (tokens: number) => void,
): Promise<TrainSequence[]> {
  const { replay = [] } = problem;
  if (replay.length === 0) return [];
  const { engine } = context.model;
  using parameters = LoraParameters.create(engine, context.parameters.slots, { frozen: true });
  parameters.initialise(0, problem.start);
  const from = problem.train.length + problem.validation.length;
  const held: TrainSequence[] = [...replay];
  for (const group of groupSequences(ownLengths(replay, context.opening), microTokens)) {
    const batch = { ...group, members: group.members.map((i) => i + from) };
    const rows = await expectedRows({ ...context, parameters }, await read(batch), taught);
    group.members.forEach((member, i) => {
      held[member] = { ...replay[member]!, expected: rows[i]! };
    });
    advance(group.lengths.reduce((sum, n) => sum + n, 0));
  }
  return held;
}

/** Bytes of what is held. */
export function replayBytes({ replay = [] }: QloraProblem, embedding: number): number {
  return 4 * embedding * replay.reduce((sum, { targets }) => sum + targets.length, 0);
}
