import type { Engine } from '../../engine/engine.js';
import type { Workspace } from '../../engine/graph.js';
import { type Batch, batchInputs } from '../../model/batch.js';
import {
  afterAttention,
  afterFeedForward,
  attend,
  feedForward,
  type Layer,
  type LayerLora,
} from '../../model/block.js';
import { byLayer, type ModuleFactors, PlacedLora } from '../../model/factors.js';
import { linearShape } from '../../model/hyperparameters.js';
import type { Model } from '../../model/model.js';
import { HiddenStates, Walker } from '../../model/walker.js';
import type { CorrectedLinear, LinearToSolve, WalkProgress } from './correctLayer.js';
import { groupExamples, type LearntPart, type Part, Prefix, type RidgeExample } from './examples.js';
import { type Fit, type Followed, outputWeights, type RowSink, teacherFit } from './target.js';
import { walkedNll } from './validation.js';

/**
 * The teacher: the same frozen model (with a skill adapter, if given) that has the user's own examples in its context. Walks layer
 * by layer and leaves its residual streams at the positions of interest, after attention and after the block.
 */
export class Teacher implements AsyncDisposable {
  private constructor(
    private readonly model: Model,
    private readonly workspace: Workspace,
    private readonly examples: readonly RidgeExample[],
    readonly walker: Walker,
    private readonly prefixes: readonly Prefix[],
    /** [embedding, rows] of each batch, after attention. */
    readonly middle: HiddenStates,
    /** [embedding, rows] of each batch, after the block. */
    readonly out: HiddenStates,
    private readonly onBatch: (tokens: number) => void,
    private readonly signal: AbortSignal | undefined,
  ) {}

  static async create(
    model: Model,
    workspace: Workspace,
    examples: readonly RidgeExample[],
    groups: readonly Batch[],
    prefixTokens: readonly Int32Array[],
    onBatch: (tokens: number) => void,
    signal?: AbortSignal,
  ): Promise<Teacher> {
    const sequences = examples.map((example) => example.teacher);
    const walker = await Walker.create(model, workspace, sequences, { groups, signal });
    const prefixes: Prefix[] = [];
    for (const tokens of prefixTokens) prefixes.push(await Prefix.create(model, workspace, tokens, signal));
    const sizes = walker.batches.map(({ rows }) => rows.length * model.hyper.embedding);
    const [middle, out] = [await HiddenStates.create(sizes), await HiddenStates.create(sizes)];
    return new Teacher(model, workspace, examples, walker, prefixes, middle, out, onBatch, signal);
  }

  /** Tokens walked through a layer, padding and prefixes included. */
  get tokens(): number {
    return this.walker.paddedTokens + this.prefixes.reduce((sum, prefix) => sum + prefix.tokens.length, 0);
  }

  /** Walks every batch through a layer. `lora` is the skill adapter's part of it. */
  async advance(layer: Layer, lora: LayerLora | undefined): Promise<void> {
    const { hyper } = this.model;
    const { signal, onBatch } = this;
    for (const prefix of this.prefixes) {
      await prefix.advance(this.workspace, layer, lora, signal);
      onBatch(prefix.tokens.length);
    }
    for (const { index, batch, tokens, rows: indices } of this.walker.batches) {
      const prefix = this.prefixes[this.examples[batch.members[0]!]!.prefix]?.keysValues;
      const { g, x, rows } = await this.walker.begin(this.workspace, index);
      const inputs = batchInputs(g, batch, this.model.ropeFactors, prefix);
      const middle = afterAttention(g, hyper, layer, x, attend(g, hyper, layer, x, inputs, lora).context, lora);
      const out = g.output(afterFeedForward(g, hyper, layer, middle, feedForward(g, hyper, layer, middle, lora), lora));
      const middleRows = rows && g.output(g.getRows(middle, rows));
      const outRows = rows && g.output(g.getRows(out, rows));
      await g.compute(signal);
      await this.walker.hidden.write(index, out.read(await this.walker.room(index)));
      const size = indices.length * hyper.embedding;
      if (middleRows) await this.middle.write(index, middleRows.read(new Float32Array(size)));
      if (outRows) await this.out.write(index, outRows.read(new Float32Array(size)));
      onBatch(tokens);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const prefix of this.prefixes) prefix[Symbol.dispose]();
    await this.walker[Symbol.asyncDispose]();
    await this.middle[Symbol.asyncDispose]();
    await this.out[Symbol.asyncDispose]();
  }
}

/** How one linear of a layer is made to follow the teacher: what is to be solved, and how its rows come about. */
export interface Following {
  linear: LinearToSolve;
  fit(sinks: Record<LearntPart, RowSink>): Fit;
}

/** @param metric of `streamMetric` */
export function followTeacher(
  model: Model,
  layer: Layer,
  module: CorrectedLinear,
  teacher: Pick<Followed, 'middle' | 'out'>,
  metric: Float32Array | undefined,
): Following {
  const residual = module === 'attn_output' ? teacher.middle : teacher.out;
  const [inputs, outputs] = linearShape(model.hyper, module);
  const weights = outputWeights(layer, module, metric);
  return {
    linear: { layer: layer.index, module, inputs, outputs, weights },
    fit: (sinks) => teacherFit(residual, outputs, sinks, metric, weights && { weights }),
  };
}

export interface RidgeProblem {
  examples: readonly RidgeExample[];
  /** Token sequences that `RidgeExample.prefix` refers to. */
  prefixes: readonly Int32Array[];
  /** Skill adapter that the teacher wears. */
  skill?: readonly ModuleFactors[];
}

/** A teacher that goes through the layers itself, with its skill adapter on. */
export async function walkingTeacher(
  engine: Engine,
  model: Model,
  workspace: Workspace,
  { examples, prefixes, skill }: RidgeProblem,
  progress: WalkProgress,
  signal?: AbortSignal,
): Promise<Followed> {
  const groups = groupExamples(examples).teacher;
  const teacher = await Teacher.create(model, workspace, examples, groups, prefixes, progress.add, signal);
  const skills = byLayer(skill ?? [], model.hyper.layers);
  return {
    tokens: teacher.tokens,
    middle: teacher.middle,
    out: teacher.out,
    async advance(layer) {
      using placed = new PlacedLora(engine, skills[layer.index]!);
      await teacher.advance(layer, placed.lora);
    },
    async nll() {
      using head = await model.head();
      const of = (part: Part) => walkedNll(model, workspace, head, teacher.walker, examples, part, signal);
      return { train: await of('train'), validation: await of('validation'), heldout: await of('heldout') };
    },
    [Symbol.asyncDispose]: () => teacher[Symbol.asyncDispose](),
  };
}
