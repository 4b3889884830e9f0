import { throwIfStopped } from '../../base/errors.js';
import type { Operations } from '../../engine/operations.js';
import type { Linear } from '../../engine/placement.js';
import type { Tensor } from '../../engine/tensor.js';
import type { BlockWeights, Layer, Linears } from '../../model/block.js';
import { linearShape } from '../../model/hyperparameters.js';
import { LabelGradient } from '../../model/labelGradient.js';
import type { Model, TransposedType } from '../../model/model.js';
import type { Lab } from '../lab.js';
import type { AdaptedModule } from './parameters.js';
import type { QloraSettings } from './state.js';
import { Tape } from './tape.js';

/** The part of a model that gradients pass: its upper layers and its head, with transposed copies of their weights. */

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
    readonly linears: Linears,
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

  static async load({ model, workspace, signal }: Lab, index: number, type: TransposedType): Promise<TrainableLayer> {
    const layer = await model.layerToTrain(index, workspace, signal);
    try {
      const transposed = await model.transposedLinears(index, type, workspace, signal);
      const linears: Linears = Object.fromEntries(
        Object.entries(layer.linears).map(([part, forward]) => [
          part,
          new TwoWayLinear(forward, transposed[part as keyof Linears]!),
        ]),
      );
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

/** What a gradient passes on its way down to the first trained layer. */
export interface TrainablePart extends Disposable {
  /** In order; the last one is the model's last. */
  readonly layers: readonly TrainableLayer[];
  readonly labels: LabelGradient;
}

export async function loadTrainable(lab: Lab, firstLayer: number, type: TransposedType): Promise<TrainablePart> {
  const owned: Disposable[] = [];
  const own = <T extends Disposable>(item: T) => {
    owned.push(item);
    return item;
  };
  const dispose = () => {
    for (const item of owned.splice(0).reverse()) item[Symbol.dispose]();
  };
  try {
    const layers: TrainableLayer[] = [];
    for (let l = firstLayer; l < lab.model.hyper.layers; l++) {
      throwIfStopped(lab.signal);
      layers.push(own(await TrainableLayer.load(lab, l, type)));
    }
    const head = own(await lab.model.head());
    const labels = own(await LabelGradient.create(lab.model, lab.workspace, head, lab.signal));
    return { layers, labels, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** The linears of some layers that settings adapt. */
export function adaptedModules(
  { hyper }: Model,
  layers: readonly { index: number }[],
  { modules, rank }: Pick<QloraSettings, 'modules' | 'rank'>,
): AdaptedModule[] {
  return layers.flatMap(({ index }) =>
    modules.map((module) => {
      const [inputs, outputs] = linearShape(hyper, module);
      return { layer: index, module, inputs, outputs, rank: Math.min(rank, inputs, outputs) };
    }),
  );
}
