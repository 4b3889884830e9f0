import type { Layer } from '../model/layer.js';
import type { Model } from '../model/model.js';

/** Visits layers in order, loading the next one's weights while a layer is worked with. */
export async function eachLayer(model: Model, first: number, visit: (layer: Layer) => Promise<void>): Promise<void> {
  const { layers } = model.hyper;
  let next: Promise<Layer> | undefined = model.layer(first);
  try {
    for (let l = first; l < layers; l++) {
      using layer = (await next)!;
      next = l + 1 < layers ? model.layer(l + 1) : undefined;
      // A failed load is reported when its turn comes, not as an unhandled rejection meanwhile.
      next?.catch(() => {});
      await visit(layer);
    }
  } finally {
    await next?.then(
      (layer) => layer[Symbol.dispose](),
      () => {},
    );
  }
}
