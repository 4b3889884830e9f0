import { throwIfStopped } from '../../base/errors.js';
import type { Operations } from '../../engine/operations.js';
import { inPlace, type Keep, type Linear, type Placed } from '../../engine/placement.js';
import type { Tensor } from '../../engine/tensor.js';
import { WeightFile } from '../../engine/weightFile.js';
import { type Layered, type LayerLinear, linearsAt } from '../../families/family.js';
import type { BlockWeights, Layer, Linears, Product } from '../../model/block.js';
import { linearShape } from '../../model/hyperparameters.js';
import { LabelGradient } from '../../model/labelGradient.js';
import type { Model } from '../../model/model.js';
import type { TransposedType } from '../../model/weights.js';
import type { Lab } from '../lab.js';
import type { AdaptedModule } from './parameters.js';
import type { QloraSettings } from './state.js';
import { Tape } from './tape.js';

/** The part of a model that gradients pass: its upper layers and its head, with transposed copies of their weights. */

/**
 * A frozen weight that gradients can pass: forward in its own layout, backward by a product with its transpose. ggml's own way
 * (`out_prod` on quantised data) would dequantise every row for every token, at a twentieth of the speed.
 */
export class TwoWayLinear implements Linear {
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
  get bytes(): number {
    return this.forward.bytes + this.transposed.bytes;
  }
  apply(ops: Operations, x: Tensor): Tensor {
    return this.by(this.forward, ops, x);
  }
  /** As `apply`, with the values of another product. */
  by(product: Product, ops: Operations, x: Tensor): Tensor {
    return ops instanceof Tape ? ops.frozen(product, this.transposed, x) : product.apply(ops, x);
  }
  async moved(move: (tensor: Tensor) => Promise<Placed>): Promise<Linear> {
    return new TwoWayLinear(await this.forward.moved(move), await this.transposed.moved(move));
  }
  release(): void {
    for (const part of [this.forward, this.transposed]) part.release();
  }
  /** The layer owns the other. */
  [Symbol.dispose](): void {
    this.transposed[Symbol.dispose]();
  }
}

/** A layer with all that its gradients need. */
export class TrainableLayer implements BlockWeights, Disposable {
  private constructor(
    private readonly layer: Layer,
    readonly linears: Readonly<Partial<Record<LayerLinear, TwoWayLinear>>>,
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
  get kernel() {
    return this.layer.kernel;
  }
  get own() {
    return this.layer.own;
  }

  /** @param keep where weights are to lie */
  static async load(
    { model, workspace, signal }: Lab,
    index: number,
    type: TransposedType,
    keep: Keep = inPlace,
  ): Promise<TrainableLayer> {
    const layer = await model.layerToTrain(index, workspace, keep, signal);
    try {
      const transposed = await model.transposedLinears(index, type, workspace, keep, signal);
      const linears = Object.fromEntries(
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

  /** Of its weights, in both layouts. */
  get bytes(): number {
    return Object.values(this.linears).reduce((sum, linear) => sum + linear.bytes, 0);
  }

  /** Lets its pages leave memory until it is used again. */
  release(): void {
    for (const linear of Object.values(this.linears)) linear.release();
    this.layer.release();
  }

  [Symbol.dispose](): void {
    for (const linear of Object.values(this.linears)) linear[Symbol.dispose]();
    this.layer[Symbol.dispose]();
  }
}

/** What is disposed of together, the last first: each may lie in what came before it. */
export class Owned implements AsyncDisposable {
  private readonly items: (Disposable | AsyncDisposable)[] = [];

  add<T extends Disposable | AsyncDisposable>(item: T): T {
    this.items.push(item);
    return item;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const item of this.items.splice(0).reverse()) {
      if (Symbol.asyncDispose in item) await item[Symbol.asyncDispose]();
      else item[Symbol.dispose]();
    }
  }
}

/** What a gradient passes on its way down to the first trained layer. */
export interface TrainablePart extends AsyncDisposable {
  /** In order; the last one is the model's last. */
  readonly layers: readonly TrainableLayer[];
  readonly labels: LabelGradient;
}

/**
 * Loads layers and head into a file that the system can drop from memory: each is used for a moment of a step, and in two layouts
 * they would take more memory than all else.
 */
export async function loadTrainable(lab: Lab, firstLayer: number, type: TransposedType): Promise<TrainablePart> {
  const owned = new Owned();
  const own: Owned['add'] = (item) => owned.add(item);
  const dispose = () => owned[Symbol.asyncDispose]();
  try {
    const file = await WeightFile.create(lab.model.engine);
    if (file) own(file);
    const keep: Keep = file ? (linear) => file.keep(linear) : inPlace;
    const layers: TrainableLayer[] = [];
    for (let l = firstLayer; l < lab.model.hyper.layers; l++) {
      throwIfStopped(lab.signal);
      const layer = own(await TrainableLayer.load(lab, l, type, keep));
      layer.release();
      layers.push(layer);
    }
    const head = own(await lab.model.head(keep));
    const labels = own(await LabelGradient.create(lab.model, lab.workspace, head, { signal: lab.signal, keep }));
    labels.release();
    return { layers, labels, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Those of some linears that a layer has. */
export function modulesAt(of: Layered, layer: number, modules: readonly LayerLinear[]): LayerLinear[] {
  if (!of.kinds) return [...modules];
  const own = linearsAt(of, layer);
  return modules.filter((module) => own.includes(module));
}

/** The linears of some layers that settings adapt. */
export function adaptedModules(
  { hyper }: Model,
  layers: readonly { index: number }[],
  { modules, rank }: Pick<QloraSettings, 'modules' | 'rank'>,
): AdaptedModule[] {
  return layers.flatMap(({ index }) =>
    modulesAt(hyper, index, modules).map((module) => {
      const [inputs, outputs] = linearShape(hyper, module, index);
      return { layer: index, module, inputs, outputs, rank: Math.min(rank, inputs, outputs) };
    }),
  );
}
