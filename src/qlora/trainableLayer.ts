import type { Linear } from '../ggml/linear.js';
import type { Operations } from '../ggml/operations.js';
import type { Tensor } from '../ggml/tensor.js';
import type { Workspace } from '../ggml/workspace.js';
import { type LayerLinear, layerLinears } from '../model/architecture.js';
import type { BlockWeights } from '../model/block.js';
import type { Layer } from '../model/layer.js';
import type { Model } from '../model/model.js';
import type { TransposedType } from '../model/weights.js';
import { Tape } from './tape.js';

/**
 * A frozen weight that gradients can pass: forward in its own layout, backward by a product with its transpose. ggml's own way
 * (`out_prod` on quantised data) would dequantise every row for every token, at a twentieth of the speed.
 */
class TwoWayLinear implements Linear {
  constructor(
    private readonly forward: Linear,
    private readonly transposed: Linear,
  ) {}
  get inputs(): number {
    return this.forward.inputs;
  }
  get outputs(): number {
    return this.forward.outputs;
  }
  get placement(): string {
    return this.forward.placement;
  }
  apply(ops: Operations, x: Tensor): Tensor {
    return ops instanceof Tape ? ops.frozen(this.forward, this.transposed, x) : this.forward.apply(ops, x);
  }
  [Symbol.dispose](): void {
    this.transposed[Symbol.dispose]();
  }
}

/** A layer with all that its gradients need. */
export class TrainableLayer implements BlockWeights, Disposable {
  private constructor(
    private readonly layer: Layer,
    readonly linears: Readonly<Record<LayerLinear, Linear>>,
  ) {}

  get index(): number {
    return this.layer.index;
  }
  get norms() {
    return this.layer.norms;
  }
  get biases() {
    return this.layer.biases;
  }

  static async load(
    model: Model,
    workspace: Workspace,
    index: number,
    type: TransposedType,
    signal?: AbortSignal,
  ): Promise<TrainableLayer> {
    const layer = await model.layerToTrain(index, workspace, signal);
    try {
      const transposed = await model.transposedLinears(index, type, workspace, signal);
      const linears = Object.fromEntries(
        layerLinears.map((part) => [part, new TwoWayLinear(layer.linears[part], transposed[part])]),
      ) as unknown as Record<LayerLinear, Linear>;
      return new TrainableLayer(layer, linears);
    } catch (error) {
      layer[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const linear of Object.values(this.linears)) linear[Symbol.dispose]();
    this.layer[Symbol.dispose]();
  }
}
