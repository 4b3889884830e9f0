import type { LayerLinear } from '../model/architecture.js';
import { type Hyperparameters, linearShape } from '../model/hyperparameters.js';

/** What must be known of a base model to read, check and convert an adapter of it. */
export interface LoraBase {
  /** Where this is known from, for errors. */
  readonly path: string;
  readonly architecture: string;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** ggml order: [inputs, outputs]. */
  shape(module: LayerLinear): readonly [number, number];
}

/** A base known from its GGUF file. */
export function ggufBase(path: string, hyper: Hyperparameters): LoraBase {
  return {
    path,
    architecture: hyper.architecture.name,
    layers: hyper.layers,
    heads: hyper.heads,
    kvHeads: hyper.kvHeads,
    shape: (module) => linearShape(hyper, module),
  };
}
