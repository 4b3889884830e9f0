import type { Engine } from '../ggml/engine.js';
import type { Linear } from '../ggml/linear.js';
import type { Operations } from '../ggml/operations.js';
import type { Tensor } from '../ggml/tensor.js';
import type { Workspace } from '../ggml/workspace.js';
import type { Gguf } from '../gguf/Gguf.js';
import { readGguf } from '../gguf/readGguf.js';
import { type LayerLinear, layerLinears } from './architecture.js';
import { type Hyperparameters, linearShape, readHyperparameters } from './hyperparameters.js';
import { Layer } from './layer.js';
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
      const ropeFactors = weights.has('rope_freqs.weight') ? await plain('rope_freqs.weight') : null;
      return new Model(engine, gguf, hyper, weights, embedding, ropeFactors, owned);
    } catch (error) {
      for (const item of owned) item[Symbol.dispose]();
      await weights[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Loads the weights of layer `index`; the caller disposes them. */
  layer(index: number): Promise<Layer> {
    return Layer.load(this.weights, this.hyper.architecture, index);
  }

  /**
   * Loads the weights of layer `index` for computing with often: q4_1, which no repacked kernel takes, as q8_0, whose kernels are the
   * fastest where both are plain. For twice the memory a tenth less time.
   */
  layerToTrain(index: number, workspace: Workspace, signal?: AbortSignal): Promise<Layer> {
    return Layer.load(this.weights, this.hyper.architecture, index, (name) =>
      this.slowToTrain(name) ? this.weights.converted(name, 'q8_0', workspace, signal) : this.weights.linear(name),
    );
  }

  /** Bytes of one linear's weight as `layerToTrain` holds it. */
  bytesToTrain(index: number, part: LayerLinear): number {
    const name = `blk.${index}.${part}.weight`;
    const [inputs, outputs] = linearShape(this.hyper, part);
    return this.slowToTrain(name) ? (inputs * outputs * 34) / 32 : this.gguf.tensor(name).bytes;
  }

  private slowToTrain(name: string): boolean {
    return this.engine.kernels === 'fast' && this.gguf.tensor(name).type.name === 'q4_1';
  }

  /** The linears of layer `index` transposed, for gradients (see `Weights.transposed`); the caller disposes them. */
  async transposedLinears(
    index: number,
    type: TransposedType,
    workspace: Workspace,
    signal?: AbortSignal,
  ): Promise<Record<LayerLinear, Linear>> {
    const made: Partial<Record<LayerLinear, Linear>> = {};
    try {
      for (const part of layerLinears) {
        made[part] = await this.weights.transposed(`blk.${index}.${part}.weight`, type, workspace, signal);
      }
      return made as Record<LayerLinear, Linear>;
    } catch (error) {
      for (const linear of Object.values(made)) linear[Symbol.dispose]();
      throw error;
    } finally {
      this.weights.release(layerLinears.map((part) => `blk.${index}.${part}.weight`));
    }
  }

  /** Loads every layer, for graphs that span the whole model. The caller disposes them. */
  async allLayers(): Promise<Layer[]> {
    const layers: Layer[] = [];
    for (let l = 0; l < this.hyper.layers; l++) layers.push(await this.layer(l));
    return layers;
  }

  /** Loads final norm and output head (the embedding table where the model ties them). The caller disposes it. */
  async head(): Promise<Head> {
    const norm = await this.weights.plain('output_norm.weight');
    const name = this.weights.has('output.weight') ? 'output.weight' : 'token_embd.weight';
    const output = await this.weights.linear(name);
    const table = await this.weights.plain(name);
    return new Head(this.hyper, norm.tensor, output, table.tensor, () => {
      for (const item of [norm.buffer, output, table.buffer]) item[Symbol.dispose]();
      this.weights.release([name]);
    });
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

  /** Residual stream entering the first layer: tokens i32 [n] -> [embedding, n]. */
  embed(ops: Operations, tokens: Tensor): Tensor {
    const rows = ops.getRows(this.embedding, tokens);
    const { embeddingScale } = this.hyper;
    return embeddingScale === 1 ? rows : ops.scale(rows, embeddingScale);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const item of this.owned.splice(0)) item[Symbol.dispose]();
    await this.weights[Symbol.asyncDispose]();
  }
}

/** Bytes of logits computed at once. */
const logitBytes = 16 << 20;

/** Positions whose logits are computed at once, so that no [tokens x vocabulary] buffer is ever needed. */
export function headChunk(vocabulary: number): number {
  return Math.max(1, Math.floor(logitBytes / (4 * vocabulary)));
}

/** Final norm and output projection. */
export class Head implements Disposable {
  constructor(
    private readonly hyper: Hyperparameters,
    readonly norm: Tensor,
    private readonly output: Linear,
    /** The same matrix in its plain layout, whose rows can be looked up. */
    private readonly table: Tensor,
    private readonly free: () => void,
  ) {}

  /** x [embedding, n], the residual stream after the last layer -> logits [vocabulary, n]. */
  logits(ops: Operations, x: Tensor): Tensor {
    return this.output.apply(ops, ops.mul(ops.rmsNorm(x, this.hyper.normEpsilon), this.norm));
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

  [Symbol.dispose](): void {
    this.free();
  }
}
