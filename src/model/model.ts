import type { Engine } from '../engine/engine.js';
import type { Workspace } from '../engine/graph.js';
import type { Operations } from '../engine/operations.js';
import { inPlace, type Keep, type Linear, splitsFaster } from '../engine/placement.js';
import type { Tensor } from '../engine/tensor.js';
import { type LayerLinear, linearsAt } from '../families/family.js';
import { requireFamily } from '../families/foreign.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { Layer, type Linears } from './block.js';
import { type Hyperparameters, linearShape, readHyperparameters, streamWidth } from './hyperparameters.js';
import { loadPerLayer, type OwnEmbeddings, ownEmbeddings, type PerLayerWeights } from './perLayer.js';
import { type TransposedType, Weights } from './weights.js';

/**
 * A frozen base model. Layers are loaded one at a time by whoever computes with them, so that a pass that goes layer by layer over
 * all its data holds the weights of one layer only.
 */
export class Model implements AsyncDisposable {
  private constructor(
    readonly engine: Engine,
    readonly gguf: Gguf,
    readonly hyper: Hyperparameters,
    private readonly weights: Weights,
    private readonly embedding: Tensor,
    /** f32 [rope.dimensions/2] or null. */
    readonly ropeFactors: Tensor | null,
    private readonly perLayer: PerLayerWeights | undefined,
    private readonly owned: Disposable[],
  ) {}

  /** Opens and validates a GGUF file. No weight but the embedding table is touched yet. */
  static async open(engine: Engine, path: string): Promise<Model> {
    const gguf = await readGguf(path);
    const hyper = readHyperparameters(gguf);
    const weights = await Weights.open(engine, gguf);
    const owned: Disposable[] = [];
    try {
      const plain = async (name: string) => {
        const { tensor, buffer } = await weights.plain(name);
        owned.push(buffer);
        return tensor;
      };
      const embedding = await plain('token_embd.weight');
      const factors = `${hyper.family.block.ropeFactors?.[0]}.weight`;
      const ropeFactors = weights.has(factors) ? await plain(factors) : null;
      const perLayer = hyper.perLayer ? await loadPerLayer(plain, weights) : undefined;
      return new Model(engine, gguf, hyper, weights, embedding, ropeFactors, perLayer, owned);
    } catch (error) {
      for (const item of owned) item[Symbol.dispose]();
      await weights[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Loads the weights of layer `index`; the caller disposes them. */
  layer(index: number): Promise<Layer> {
    this.requireLayers();
    return Layer.load(this.weights, this.hyper, index, this.own(index));
  }

  private own(index: number): OwnEmbeddings | undefined {
    return this.perLayer && ownEmbeddings(this.perLayer, this.hyper, index, (ops, tokens) => this.look(ops, tokens));
  }

  /**
   * Loads the weights of layer `index` for computing with often: q4_1, which no kernel of a layout of its own takes, as q8_0 where that
   * has one (AMX, Arm), for twice the memory.
   */
  layerToTrain(index: number, workspace: Workspace, keep: Keep, signal?: AbortSignal): Promise<Layer> {
    this.requireLayers();
    return Layer.load(this.weights, this.hyper, index, this.own(index), async (name) =>
      keep(
        this.slowToTrain(name)
          ? await this.weights.converted(name, 'q8_0', workspace, signal)
          : await this.weights.linear(name),
      ),
    );
  }

  /** Of a family without a file an empty layer would be computed. */
  private requireLayers(): void {
    requireFamily(this.hyper.family, 'a pass through its layers on our own graph', { where: this.gguf.path });
  }

  /** Bytes of one linear's weight as `layerToTrain` holds it. */
  bytesToTrain(index: number, part: LayerLinear): number {
    const name = `blk.${index}.${part}.weight`;
    const [inputs, outputs] = linearShape(this.hyper, part, index);
    return this.slowToTrain(name) ? (inputs * outputs * 34) / 32 : this.gguf.tensor(name).bytes;
  }

  /** Bytes of the output matrix. */
  get bytesOfHead(): number {
    return this.gguf.tensor(this.headName).bytes;
  }

  /** The norm before the output head; LFM2's, and that of models which no family describes, may have another name. */
  get normName(): string {
    const known = this.hyper.family.outputNorm?.name;
    return `${known ?? (this.weights.has('output_norm.weight') ? 'output_norm' : 'token_embd_norm')}.weight`;
  }

  private get headName(): string {
    return this.weights.has('output.weight') ? 'output.weight' : 'token_embd.weight';
  }

  private slowToTrain(name: string): boolean {
    const { type, shape } = this.gguf.tensor(name);
    return this.engine.kernels === 'fast' && type.name === 'q4_1' && !splitsFaster(this.engine, shape);
  }

  /** The linears of layer `index` transposed, for gradients (see `Weights.transposed`); the caller disposes them. */
  async transposedLinears(
    index: number,
    type: TransposedType,
    workspace: Workspace,
    keep: Keep,
    signal?: AbortSignal,
  ): Promise<Linears> {
    const linears = linearsAt(this.hyper, index);
    const made: Partial<Record<LayerLinear, Linear>> = {};
    try {
      for (const part of linears) {
        made[part] = await keep(await this.weights.transposed(`blk.${index}.${part}.weight`, type, workspace, signal));
      }
      return made;
    } catch (error) {
      for (const linear of Object.values(made)) linear[Symbol.dispose]();
      throw error;
    } finally {
      this.weights.release(linears.map((part) => `blk.${index}.${part}.weight`));
    }
  }

  /** Loads every layer, for graphs that span the whole model. The caller disposes them. */
  async allLayers(): Promise<Layer[]> {
    const layers: Layer[] = [];
    for (let l = 0; l < this.hyper.layers; l++) layers.push(await this.layer(l));
    return layers;
  }

  /** Loads final norm and output head (the embedding table where the model ties them). The caller disposes it. */
  async head(keep: Keep = inPlace): Promise<Head> {
    const norm = await this.weights.plain(this.normName);
    const name = this.headName;
    const output = await keep(await this.weights.linear(name));
    const table = await this.weights.plain(name);
    const free = () => {
      for (const item of [norm.buffer, output, table.buffer]) item[Symbol.dispose]();
      this.weights.release([name]);
    };
    const release = () => {
      output.release();
      this.weights.release([name]);
    };
    return new Head(this.hyper, norm.tensor, output, table.tensor, { free, release });
  }

  /** The values of an f32 tensor of the file: a norm. */
  async vector(name: string): Promise<Float32Array> {
    const { tensor, buffer } = await this.weights.plain(name);
    try {
      return tensor.toFloat32();
    } finally {
      buffer[Symbol.dispose]();
    }
  }

  /** What enters the first layer: tokens i32 [n] -> [streamWidth, n], the residual stream and room for what goes beside it. */
  embed(ops: Operations, tokens: Tensor): Tensor {
    const more = streamWidth(this.hyper) - this.hyper.embedding;
    return more > 0 ? ops.padColumns(this.look(ops, tokens), more) : this.look(ops, tokens);
  }

  private look(ops: Operations, tokens: Tensor): Tensor {
    const rows = ops.getRows(this.embedding, tokens);
    const { embeddingScale } = this.hyper;
    return embeddingScale === 1 ? rows : ops.scale(rows, embeddingScale);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const item of this.owned.splice(0)) item[Symbol.dispose]();
    await this.weights[Symbol.asyncDispose]();
  }
}

/** Bytes of logits computed at once, if they are of more than `headTile` positions. */
const logitBytes = 8 << 20;
/** Kernels multiply tiles of so many positions; fewer cost nearly as much. */
const headTile = 16;

/** Positions whose logits are computed at once, so that no [tokens x vocabulary] buffer is ever needed. */
export function headChunk(vocabulary: number): number {
  return headTile * Math.max(1, Math.floor(logitBytes / (4 * vocabulary * headTile)));
}

/** Final norm and output projection. */
export class Head implements Disposable {
  constructor(
    private readonly hyper: Hyperparameters,
    readonly norm: Tensor,
    private readonly output: Linear,
    /** The same matrix in its plain layout, whose rows can be looked up. */
    private readonly table: Tensor,
    private readonly memory: { free: () => void; release: () => void },
  ) {}

  /** x [embedding, n], the residual stream after the last layer -> logits [vocabulary, n]. */
  logits(ops: Operations, x: Tensor): Tensor {
    const logits = this.output.apply(ops, ops.mul(ops.rmsNorm(x, this.hyper.normEpsilon), this.norm));
    const { logitScale, logitCap: cap } = this.hyper;
    const scaled = logitScale === 1 ? logits : ops.scale(logits, logitScale);
    return cap ? ops.scale(ops.tanh(ops.scale(scaled, 1 / cap)), cap) : scaled;
  }

  /** Rows of the output matrix, by token i32 [n] -> [embedding, n]. */
  rows(ops: Operations, tokens: Tensor): Tensor {
    return ops.getRows(this.table, tokens);
  }

  /**
   * -log p(label), f32 [n], from logits [vocabulary, n] and their softmax. The likeliest token's probability is at least
   * 1/vocabulary, so its logarithm is safe where that of an unlikely label is not: logit(best) - logit(label) - log p(best).
   */
  nll(ops: Operations, logits: Tensor, probabilities: Tensor, labels: Tensor): Tensor {
    const best = ops.argmax(logits);
    const gap = ops.sub(ops.pick(logits, best), ops.pick(logits, labels));
    return ops.sub(gap, ops.log(ops.pick(probabilities, best)));
  }

  /** Lets its pages leave memory until it is used again. */
  release(): void {
    this.memory.release();
  }

  [Symbol.dispose](): void {
    this.memory.free();
  }
}

/** Visits layers `first` to the one before `end` in order, loading the next one's weights while a layer is worked with. */
export async function eachLayer(
  model: Model,
  first: number,
  visit: (layer: Layer) => Promise<void>,
  end = model.hyper.layers,
): Promise<void> {
  for await (const layer of layersInOrder(model, first, end)) await visit(layer);
}

/** As `eachLayer`, for a loop that yields on its way. A layer is freed when the next one is asked for. */
export async function* layersInOrder(
  model: Model,
  first: number,
  end = model.hyper.layers,
): AsyncGenerator<Layer, void, void> {
  let next: Promise<Layer> | undefined = first < end ? model.layer(first) : undefined;
  try {
    for (let l = first; l < end; l++) {
      using layer = (await next)!;
      next = l + 1 < end ? model.layer(l + 1) : undefined;
      // A failed load is reported when its turn comes, not as an unhandled rejection meanwhile.
      next?.catch(() => {});
      yield layer;
    }
  } finally {
    await next?.then(
      (layer) => layer[Symbol.dispose](),
      () => {},
    );
  }
}
