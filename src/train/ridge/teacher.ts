import type { Tensor, TensorBuffer } from '../../engine/tensor.js';
import { convolvedWidth, kindOf, sizesAt } from '../../families/family.js';
import { batchInputs } from '../../model/batch.js';
import { type Layer, LayerGraph, type LayerLora } from '../../model/block.js';
import { byLayer, type ModuleFactors, PlacedLora } from '../../model/factors.js';
import { type Hyperparameters, streamWidth } from '../../model/hyperparameters.js';
import type { Carried } from '../../model/mixing/mixing.js';
import { HiddenStates, Walker } from '../../model/walker.js';
import type { Lab } from '../lab.js';
import { groupExamples, type Part, type RidgeExample } from './examples.js';
import type { Store, Stores } from './state.js';
import type { Followed } from './target.js';
import { walkedNll } from './validation.js';
import type { RidgeLab } from './walk.js';

export interface RidgeProblem {
  examples: readonly RidgeExample[];
  /** Token sequences that `RidgeExample.prefix` refers to. */
  prefixes: readonly Int32Array[];
  /** Skill adapter that is applied to the teacher. */
  skill?: readonly ModuleFactors[];
}

/**
 * The teacher: the same frozen model (with a skill adapter, if given) that has the user's own examples in its context. Walks layer
 * by layer and leaves its residual streams at the positions of interest, after attention and after the block.
 */
export class Teacher implements Followed {
  private readonly skills: ModuleFactors[][];

  private constructor(
    private readonly lab: RidgeLab,
    private readonly problem: RidgeProblem,
    private readonly walker: Walker,
    private readonly prefixes: readonly Prefix[],
    /** [embedding, rows] of each batch, after attention and after the feed-forward part. */
    private readonly streams: { middle: HiddenStates; out: HiddenStates },
  ) {
    this.skills = byLayer(problem.skill ?? [], lab.model.hyper.layers);
  }

  static async create(lab: RidgeLab, problem: RidgeProblem): Promise<Teacher> {
    const { model, workspace, signal } = lab;
    const sequences = problem.examples.map((example) => example.teacher);
    const groups = groupExamples(problem.examples).teacher;
    const walker = await Walker.create(model, workspace, sequences, { groups, signal });
    const prefixes: Prefix[] = [];
    for (const tokens of problem.prefixes) prefixes.push(await Prefix.create(lab, tokens));
    const sizes = walker.batches.map(({ rows }) => rows.length * model.hyper.embedding);
    const streams = {
      middle: await HiddenStates.create(sizes, model.engine.scratch),
      out: await HiddenStates.create(sizes, model.engine.scratch),
    };
    return new Teacher(lab, problem, walker, prefixes, streams);
  }

  /** What it needs to stand where it stands: its streams, and those of its prefixes. */
  get held(): Stores {
    return new Map<string, Store>([
      ['teacher', this.walker.hidden],
      ...this.prefixes.map((prefix, i): [string, Store] => [`prefix ${i}`, prefix.held]),
    ]);
  }

  get middle(): HiddenStates {
    return this.streams.middle;
  }
  get out(): HiddenStates {
    return this.streams.out;
  }

  /** Tokens walked through a layer, padding and prefixes included. */
  get tokens(): number {
    return this.walker.paddedTokens + this.prefixes.reduce((sum, prefix) => sum + prefix.tokens.length, 0);
  }

  async advance(layer: Layer): Promise<void> {
    const { model, workspace, progress, signal } = this.lab;
    const { hyper } = model;
    using placed = new PlacedLora(model.engine, this.skills[layer.index]!);
    const { lora } = placed;
    for (const prefix of this.prefixes) {
      await prefix.advance(layer, lora);
      progress.add(prefix.tokens.length);
    }
    for (const { index, batch, tokens, rows: indices } of this.walker.batches) {
      const prefix = this.prefixes[this.problem.examples[batch.members[0]!]!.prefix]?.keysValues;
      const { g, x, rows, tokens: ids } = await this.walker.begin(workspace, index);
      const inputs = batchInputs(g, batch, ids, model.ropeFactors, prefix);
      const graph = new LayerGraph(g, hyper, layer, lora);
      const middle = graph.afterAttention(x, graph.attend(x, inputs).context);
      const forward = graph.afterFeedForward(middle, graph.feedForward(middle));
      const out = g.output(graph.leave(forward, ids));
      const middleRows = rows && g.output(g.getRows(graph.stream(middle), rows));
      const outRows = rows && g.output(g.getRows(graph.stream(forward), rows));
      await g.compute(signal);
      await this.walker.hidden.write(index, out.read(await this.walker.room(index)));
      const size = indices.length * hyper.embedding;
      if (middleRows) await this.middle.write(index, middleRows.read(new Float32Array(size)));
      if (outRows) await this.out.write(index, outRows.read(new Float32Array(size)));
      progress.add(tokens);
    }
  }

  async nll(): Promise<Record<Part, number>> {
    using head = await this.lab.model.head();
    const of = (part: Part) => walkedNll(this.lab, head, this.walker, this.problem.examples, part);
    return { train: await of('train'), validation: await of('validation'), heldout: await of('heldout') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const prefix of this.prefixes) prefix[Symbol.dispose]();
    await this.walker[Symbol.asyncDispose]();
    await this.middle[Symbol.asyncDispose]();
    await this.out[Symbol.asyncDispose]();
  }
}

/** Shapes of the keys and values of so many tokens in a layer; of the keys alone where they are the values too. */
function roomOf(hyper: Hyperparameters, layer: number, tokens: number): [keys: number[], values?: number[]] {
  const { headDim, kvHeads } = sizesAt(hyper, layer);
  const { embedding, delta, taps = 0 } = hyper;
  const kind = kindOf(hyper, layer);
  if (kind === 'convolution') return [[embedding, tokens, 1]];
  if (kind !== 'delta')
    return [
      [headDim, tokens, kvHeads],
      [headDim, tokens, kvHeads],
    ];
  return [
    [convolvedWidth(hyper), taps - 1],
    [delta!.headDim, delta!.headDim, delta!.valueHeads],
  ];
}

/** Tokens of a prefix computed at once: bounds the memory of a long prefix; each chunk attends to the ones before it. */
const chunkTokens = 1024;

/**
 * The shared prefix of a teacher (the user's own examples in its context): walked once through the layers, leaving its keys and
 * values of the current layer for every example to attend to.
 */
export class Prefix implements Disposable {
  private readonly hidden: Float32Array;
  private readonly buffer: TensorBuffer;
  /** Of each layer; those of one shape have the same room. */
  private readonly kept: readonly Carried[];
  private layer = 0;

  private constructor(
    private readonly lab: Lab,
    readonly tokens: Int32Array,
  ) {
    const { hyper } = lab.model;
    this.hidden = new Float32Array(tokens.length * streamWidth(hyper));
    const rooms = Array.from({ length: hyper.layers }, (_, layer) => roomOf(hyper, layer, tokens.length));
    this.buffer = lab.model.engine.buffer(2 * new Set(rooms.map(String)).size);
    const made = new Map<string, Carried>();
    this.kept = rooms.map(([keys, values]) => {
      const known = made.get(`${keys} ${values}`);
      if (known) return known;
      const tensor = this.buffer.tensor('f32', keys);
      const carried = { keys: tensor, values: values ? this.buffer.tensor('f32', values) : tensor };
      made.set(`${keys} ${values}`, carried);
      return carried;
    });
    this.buffer.allocate({ zero: true });
  }

  static async create(lab: Lab, tokens: Int32Array): Promise<Prefix> {
    const self = new Prefix(lab, tokens);
    const g = lab.workspace.begin();
    const x = g.output(lab.model.embed(g, g.input('i32', [tokens.length], tokens)));
    await g.compute(lab.signal);
    x.read(self.hidden);
    return self;
  }

  /** What the layer that was walked last leaves to those that follow. */
  get keysValues(): Carried {
    return this.kept[this.layer]!;
  }

  get held(): Store {
    const { hidden } = this;
    return {
      sizes: [hidden.length],
      read: async () => hidden,
      write: async (_, values) => hidden.set(values),
    };
  }

  /** Walks through one layer. */
  async advance(layer: Layer, lora?: LayerLora): Promise<void> {
    const { model, workspace, signal } = this.lab;
    const { hyper, ropeFactors } = model;
    const width = streamWidth(hyper);
    this.layer = layer.index;
    const { keys, values } = this.keysValues;
    for (let start = 0; start < this.tokens.length; start += chunkTokens) {
      const length = Math.min(chunkTokens, this.tokens.length - start);
      const block = this.hidden.subarray(start * width, (start + length) * width);
      const g = workspace.begin();
      const part = (tensor: Tensor, from: number, count: number) =>
        g.view(tensor, [tensor.ne[0], count, tensor.ne[2]], {
          offset: from * tensor.nb[1],
          strides: [tensor.nb[1], tensor.nb[2]],
        });
      // A state is replaced, what each token has of its own is added behind that of those before.
      const grows = kindOf(hyper, layer.index) !== 'delta';
      const known = (tensor: Tensor) => (grows ? part(tensor, 0, start) : tensor);
      const before = start === 0 ? undefined : { keys: known(keys), values: known(values) };
      const batch = { members: [0], length, lengths: [length] };
      const x = g.input('f32', [width, length], block);
      const ids = g.input('i32', [length], this.tokens.slice(start, start + length));
      const graph = new LayerGraph(g, hyper, layer, lora);
      const { context, carried } = graph.attend(x, batchInputs(g, batch, ids, ropeFactors, before));
      const store = (from: Tensor, to: Tensor) => g.run(g.copy(from, grows ? part(to, start, length) : to));
      const own = carried();
      store(own.keys, keys);
      if (values !== keys) store(own.values, values);
      const middle = graph.afterAttention(x, context);
      const out = g.output(graph.leave(graph.afterFeedForward(middle, graph.feedForward(middle)), ids));
      await g.compute(signal);
      out.read(block);
    }
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}
