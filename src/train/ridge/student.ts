import { UnsupportedError } from '../../base/errors.js';
import type { Graph } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import { postNormOf } from '../../families/family.js';
import { type Batch, type StreamInputs, sharedAttention, sharedBlock, streamInputs } from '../../model/batch.js';
import { type Layer, LayerGraph, type LayerLora } from '../../model/block.js';
import { HiddenStates, type WalkedSequence, Walker } from '../../model/walker.js';
import { groupExamples, type RidgeExample } from './examples.js';
import { refill, type SavedRidge, type Store, type Stores } from './state.js';
import { type Fit, type RowSink, throughNorm } from './target.js';
import type { CorrectedLinear, RidgeLab } from './walk.js';

/** Rows of a batch for a fit: `stream` is the residual stream that the linear adds to. */
interface Taken {
  fit: Fit;
  sink: RowSink;
  stream: Tensor;
  inputs: Tensor;
  /** Of the batch. */
  index: number;
}

/**
 * The student: the bare base, corrected as it goes. A layer is walked in three steps, because its output projection and its
 * feed-forward part are fitted one after the other on what the correction before has left to do:
 *
 * 1. `attend`: attention contexts of all tokens; statistics of `attn_output`.
 * 2. `middle`: residual after the corrected attention; statistics of `ffn_down`.
 * 3. `finish`: residual after the corrected feed-forward.
 */
export class Student implements AsyncDisposable {
  private saved: HiddenStates | undefined;

  private constructor(
    readonly lab: RidgeLab,
    readonly examples: readonly RidgeExample[],
    readonly walker: Walker,
    /** Inputs of attn_output, [heads·headDim, N] of each batch. */
    private readonly context: HiddenStates,
  ) {}

  static async create(lab: RidgeLab, examples: readonly RidgeExample[]): Promise<Student> {
    const { model, workspace, signal } = lab;
    const { student: groups, opening } = groupExamples(examples);
    const walker = await Walker.create(model, workspace, afterOpening(examples, opening), {
      groups,
      opening: examples[0]?.student.tokens.subarray(0, opening),
      signal,
    });
    const width = model.hyper.heads * model.hyper.headDim;
    const context = await HiddenStates.create(
      walker.batches.map(({ tokens }) => tokens * width),
      model.engine.scratch,
    );
    return new Student(lab, examples, walker, context);
  }

  /** What it needs to stand where it stands, and to go back. */
  get held(): Stores {
    return new Map<string, Store>([
      ['student', this.walker.hidden],
      ...(this.saved ? [['saved', this.saved] as const] : []),
    ]);
  }

  /** Puts it where it stood. */
  async goOn(from: SavedRidge): Promise<void> {
    if (from.has('saved')) {
      this.saved = await HiddenStates.create(this.walker.hidden.sizes, this.lab.model.engine.scratch);
    }
    await refill(this.held, from);
  }

  /** Remembers where the walk is, for `restore`. */
  async save(): Promise<void> {
    this.saved ??= await HiddenStates.create(this.walker.hidden.sizes, this.lab.model.engine.scratch);
    await this.walker.hidden.copyTo(this.saved);
  }

  /** Goes back to where `save` was called. */
  async restore(): Promise<void> {
    await this.saved!.copyTo(this.walker.hidden);
  }

  /** A walker of its own over some batches, standing where `save` was called. */
  async savedSample(batches: readonly number[]): Promise<Walker> {
    const { opening } = this.walker;
    const groups = batches.map((index) => this.walker.batches[index]!.batch);
    const hidden = await HiddenStates.create(
      batches.map((index) => this.saved!.sizes[index]!),
      this.lab.model.engine.scratch,
    );
    for (const [i, index] of batches.entries()) await hidden.write(i, await this.saved!.read(index));
    return Walker.at(this.lab.model, afterOpening(this.examples, opening), groups, opening, hidden);
  }

  /** Walks through a layer that is not adapted. */
  async advance(layer: Layer): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    for (const { index, batch, tokens } of this.walker.batches) {
      const { g, x } = await this.walker.begin(workspace, index);
      const out = g.output(sharedBlock(new LayerGraph(g, model.hyper, layer), x, this.inputs(g, batch)));
      await g.compute(signal);
      await this.walker.hidden.write(index, out.read(await this.walker.room(index)));
      progress.add(tokens);
    }
  }

  /** Step 1. */
  async attend(layer: Layer, fit: Fit): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    for (const { index, batch, tokens } of this.walker.batches) {
      const { g, x, rows } = await this.walker.begin(workspace, index);
      const context = g.output(sharedAttention(new LayerGraph(g, model.hyper, layer), x, this.inputs(g, batch)));
      const sink = fit.sinkOf(this.partOf(batch));
      if (sink && rows) {
        const contextRows = g.getRows(context, rows);
        const stream = g.getRows(x, rows);
        await this.take(g, layer, 'attn_output', { fit, sink, stream, inputs: contextRows, index });
      }
      await g.compute(signal);
      const room = this.context.inMemory ? await this.context.read(index) : new Float32Array(context.elements);
      await this.context.write(index, context.read(room));
      await sink?.computed();
      progress.add(tokens);
    }
  }

  /** Step 2, with the correction of `attn_output` in `lora`. */
  async middle(layer: Layer, lora: LayerLora, fit: Fit): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    const { hyper } = model;
    const width = hyper.heads * hyper.headDim;
    for (const { index, batch, tokens } of this.walker.batches) {
      const { g, x, rows } = await this.walker.begin(workspace, index);
      const context = g.input('f32', [width, x.ne[1]], await this.context.read(index));
      const middle = g.output(new LayerGraph(g, hyper, layer, lora).afterAttention(x, context));
      const sink = fit.sinkOf(this.partOf(batch));
      if (sink && rows) {
        const middleRows = g.getRows(middle, rows);
        const inner = new LayerGraph(g, hyper, layer).feedForward(middleRows);
        await this.take(g, layer, 'ffn_down', { fit, sink, stream: middleRows, inputs: inner, index });
      }
      await g.compute(signal);
      await this.walker.hidden.write(index, middle.read(await this.walker.room(index)));
      await sink?.computed();
      progress.add(tokens);
    }
  }

  /** Step 3, with the correction of `ffn_down` in `lora`. */
  async finish(layer: Layer, lora: LayerLora): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    for (const { index, tokens } of this.walker.batches) {
      const { g, x } = await this.walker.begin(workspace, index);
      const graph = new LayerGraph(g, model.hyper, layer, lora);
      const out = g.output(graph.afterFeedForward(x, graph.feedForward(x)));
      await g.compute(signal);
      await this.walker.hidden.write(index, out.read(await this.walker.room(index)));
      progress.add(tokens);
    }
  }

  /** Hands rows of a linear's inputs to a fit, with what is wanted of its correction. */
  private async take(
    g: Graph,
    layer: Layer,
    module: CorrectedLinear,
    { fit, sink, stream, inputs, index }: Taken,
  ): Promise<void> {
    const { hyper } = this.lab.model;
    const graph = new LayerGraph(g, hyper, layer);
    const own = () => g.add(graph.written(module, graph.project(module, inputs)), stream);
    const wanted = await fit.wanted(g, index, inputs.rows, own);
    if (!layer.norms[postNormOf(module)]) {
      sink.add(g, inputs, wanted);
      return;
    }
    if (!fit.norm) {
      throw new UnsupportedError({
        found: `a norm stands behind blk.${layer.index}.${module}, and its plain inputs and targets are asked for`,
        expected: 'a model whose linear layers add to the residual stream as they are',
        fix: 'use `loam tune --method ridge`, which carries targets back through the norm',
      });
    }
    const outputs = new LayerGraph(g, hyper, layer, fit.norm.applied).project(module, inputs);
    const rows = { x: inputs, z: outputs, y: wanted };
    const { x, y } = throughNorm(g, rows, fit.norm.weights, hyper.normEpsilon);
    sink.add(g, x, y);
  }

  private inputs(g: Graph, batch: Batch): StreamInputs {
    return streamInputs(g, batch, this.walker.opening, this.lab.model.ropeFactors);
  }

  private partOf(batch: Batch) {
    return this.examples[batch.members[0]!]!.part;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.walker[Symbol.asyncDispose]();
    await this.context[Symbol.asyncDispose]();
    await this.saved?.[Symbol.asyncDispose]();
  }
}

/** The student's sequences without what they all begin with. */
function afterOpening(examples: readonly RidgeExample[], opening: number): WalkedSequence[] {
  return examples.map(({ student: { tokens, positions } }) => ({
    tokens: tokens.subarray(opening),
    positions: positions.map((at) => at - opening),
  }));
}
