import type { Layer } from '../model/layer.js';
import type { Part } from './examples.js';
import type { Residuals } from './target.js';

/** Whom the student follows: a teacher that walks beside it, or what one has left in a file. */
export interface Followed extends AsyncDisposable {
  /** Tokens that it walks through each layer. */
  readonly tokens: number;
  /** Takes it through a layer; for every layer in order, before the student goes there. */
  advance(layer: Layer): Promise<void>;
  /** Its residual streams in the layer it was taken through last: after attention, and after the block. */
  readonly middle: Residuals;
  readonly out: Residuals;
  /** Mean NLL, nats a token, after the last layer. */
  nll(): Promise<Record<Part, number>>;
}
