import type { Layer } from './layer.js';
import type { Model } from './model.js';

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
