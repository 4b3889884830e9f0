import { UnsupportedError } from '../../base/errors.js';
import type { Graph } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import { mixedWidth, mixerAt, postNormOf, widestMixed } from '../../families/family.js';
import { type Batch, type StreamInputs, sharedAttention, sharedBlock, streamInputs } from '../../model/batch.js';
import { type Layer, LayerGraph, type LayerLora } from '../../model/block.js';
import { linearShape } from '../../model/hyperparameters.js';
import { eachLayer } from '../../model/model.js';
import { HiddenStates, Walker } from '../../model/walker.js';
import { groupExamples, type RidgeExample } from './examples.js';
import type { SweptStudent } from './labelSweeps.js';
import { afterOpening, SavedWalk } from './savedWalk.js';
import { ownSteps, Sensitivity } from './sensitivity.js';
import { type Fit, outputWeights, type RowSink, streamMetric, throughNorm } from './target.js';
import { type CorrectedLinear, correctLayer, type RidgeLab } from './walk.js';

/** Rows of a batch for a fit: `stream` is the residual stream that the linear adds to. */
interface Taken {
  fit: Fit;
  sink: RowSink;
  stream: Tensor;
  inputs: Tensor;
  /** Of the batch. */
  index: number;
}

/** What is wanted of the stream that leaves a layer, as it is before the layer's factor. */
function behindScale(fit: Fit, { norms: { layer_output_scale: scale } }: Layer): Fit {
  if (!scale) return fit;
  return { ...fit, wanted: async (g, ...rest) => g.mul(await fit.wanted(g, ...rest), scale) };
}

/**
 * The student: the bare base, corrected as it goes. A layer is walked in three steps, because its output projection and its
 * feed-forward part are fitted one after the other on what the correction before has left to do:
 *
 * 1. `attend`: attention contexts of all tokens; statistics of `attn_output`.
 * 2. `middle`: residual after the corrected attention; statistics of `ffn_down`.
 * 3. `finish`: residual after the corrected feed-forward.
 */
export class Student extends SavedWalk implements SweptStudent {
  private constructor(
    readonly lab: RidgeLab,
    examples: readonly RidgeExample[],
    walker: Walker,
    /** What a layer has mixed of each batch, [width, N], with room for the widest. */
    private readonly context: HiddenStates,
  ) {
    super(lab.model, examples, walker);
  }

  static async create(lab: RidgeLab, examples: readonly RidgeExample[]): Promise<Student> {
    const { model, workspace, signal } = lab;
    const { student: groups, opening } = groupExamples(examples);
    const walker = await Walker.create(model, workspace, afterOpening(examples, opening), {
      groups,
      opening: examples[0]?.student.tokens.subarray(0, opening),
      signal,
    });
    const width = widestMixed(model.hyper);
    const context = await HiddenStates.create(
      walker.batches.map(({ tokens }) => tokens * width),
      model.engine.scratch,
    );
    return new Student(lab, examples, walker, context);
  }

  metric(): Promise<Float32Array | undefined> {
    return streamMetric(this.lab.model);
  }

  async sensitivity(batches: readonly number[], first: number, metric: Float32Array | undefined): Promise<Sensitivity> {
    return await Sensitivity.measure(this.lab, await this.savedSample(batches), ownSteps(this.lab, first), metric);
  }

  async sweep(...[first, metric, correct, walked]: Parameters<SweptStudent['sweep']>): Promise<void> {
    const { model } = this.lab;
    await eachLayer(model, first, async (layer) => {
      const found = await correctLayer(this, layer, async (_, module, collect) => {
        const [inputs, outputs] = linearShape(model.hyper, module, layer.index);
        const weights = outputWeights(model.hyper, layer, module, metric);
        const left = async (fit: Fit) => await collect(behindScale(fit, layer));
        return await correct({ layer: layer.index, module, inputs, outputs, weights }, left);
      });
      await walked(layer.index + 1, found);
    });
  }

  /** Walks through a layer that is not adapted. */
  async advance(layer: Layer): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    for (const { index, batch, tokens } of this.walker.batches) {
      const { g, x, tokens: ids } = await this.walker.begin(workspace, index);
      const out = g.output(sharedBlock(new LayerGraph(g, model.hyper, layer), x, this.inputs(g, batch, ids)));
      await g.compute(signal);
      await this.walker.hidden.write(index, out.read(await this.walker.room(index)));
      progress.add(tokens);
    }
  }

  /** Step 1. */
  async attend(layer: Layer, fit: Fit): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    for (const { index, batch, tokens } of this.walker.batches) {
      const { g, x, rows, tokens: ids } = await this.walker.begin(workspace, index);
      const context = g.output(sharedAttention(new LayerGraph(g, model.hyper, layer), x, this.inputs(g, batch, ids)));
      const sink = fit.sinkOf(this.partOf(batch));
      if (sink && rows) {
        const contextRows = g.getRows(context, rows);
        const stream = g.getRows(x, rows);
        await this.take(g, layer, mixerAt(model.hyper, layer.index), { fit, sink, stream, inputs: contextRows, index });
      }
      await g.compute(signal);
      const room = this.context.inMemory
        ? await this.context.read(index)
        : new Float32Array(this.context.sizes[index]!);
      context.read(room.subarray(0, context.elements));
      await this.context.write(index, room);
      await sink?.computed();
      progress.add(tokens);
    }
  }

  /** Step 2, with the correction of `attn_output` in `lora`. */
  async middle(layer: Layer, lora: LayerLora, fit: Fit): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    const { hyper } = model;
    const width = mixedWidth(hyper, layer.index);
    for (const { index, batch, tokens } of this.walker.batches) {
      const { g, x, rows } = await this.walker.begin(workspace, index);
      const mixed = (await this.context.read(index)).subarray(0, width * x.ne[1]);
      const context = g.input('f32', [width, x.ne[1]], mixed);
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
      const { g, x, tokens: ids } = await this.walker.begin(workspace, index);
      const graph = new LayerGraph(g, model.hyper, layer, lora);
      const out = g.output(graph.leave(graph.afterFeedForward(x, graph.feedForward(x)), ids));
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
    const own = () => g.add(graph.written(module, graph.project(module, inputs)), graph.stream(stream));
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

  private inputs(g: Graph, batch: Batch, tokens: Tensor): StreamInputs {
    return streamInputs(g, batch, tokens, this.walker.opening, this.lab.model.ropeFactors);
  }

  private partOf(batch: Batch) {
    return this.examples[batch.members[0]!]!.part;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await this.context[Symbol.asyncDispose]();
  }
}
