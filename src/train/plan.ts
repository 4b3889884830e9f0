import type { TuneOptions } from './options.js';
import type { PriceList, TrainingPrice } from './price.js';
import type { QloraSettings } from './qlora/state.js';

/** What is trained, of what is wanted, with the time and the memory there is. How that is told stands in `priceRun.ts`. */

/** What may be given up to end in time: top layers, and passes over the data. */
export interface Extent {
  layers: number;
  epochs: number;
}
/** What the user chose, and so stays as it is. */
export interface Fixed {
  layers: boolean;
  epochs: boolean;
}

export function chosenBy({ layers, epochs }: Pick<TuneOptions, 'layers' | 'epochs'>): Fixed {
  return { layers: layers !== undefined, epochs: epochs !== undefined };
}

/** Passes over the data below which layers are given up first: facts and manner of a few hundred examples want two. */
const leastEpochs = 2;
/** Share of the layers below which passes are given up again. */
const leastLayers = 0.25;
/** Shortest schedule; what the deadline cuts off then is cut off. */
const shortest = 0.05;

/**
 * The most training that fits into a time: a schedule that is carried through, its learning rate falling to the end, ends better than
 * a longer one that is cut off. First passes over the data are given up, down to two; then layers, down to a quarter; then passes
 * again.
 *
 * @param price seconds that a number of top layers and epochs take; grows with both
 * @param seconds what there is
 */
export function fitBudget(price: (extent: Extent) => number, wanted: Extent, fixed: Fixed, seconds: number): Extent {
  const fits = (extent: Extent) => price(extent) <= seconds;
  if (fits(wanted)) return wanted;
  /** Most epochs that fit with a number of layers, from `least` on. */
  const most = (layers: number, least: number): Extent => {
    let [low, high] = [least, wanted.epochs];
    // The price is a line in the number of epochs: a few halvings come as close as the measured costs are true.
    for (let i = 0; i < 12; i++) {
      const middle = (low + high) / 2;
      if (fits({ layers, epochs: middle })) low = middle;
      else high = middle;
    }
    return { layers, epochs: low };
  };
  const least = fixed.epochs ? wanted.epochs : Math.min(wanted.epochs, leastEpochs);
  if (fits({ layers: wanted.layers, epochs: least })) return most(wanted.layers, least);
  let { layers } = wanted;
  if (!fixed.layers) {
    const fewest = Math.max(1, Math.ceil(leastLayers * wanted.layers));
    while (layers > fewest && !fits({ layers, epochs: least })) layers--;
  }
  if (fixed.epochs || fits({ layers, epochs: least })) return { layers, epochs: least };
  return most(layers, Math.min(least, shortest));
}

/** Tokens computed at once, at least: below it products are slow, and the rest of what a run holds is the larger part. */
const leastTokens = 64;

/** Bytes of products below which nothing is kept. */
const leastKept = 8 << 20;

/** The outcome of planning, with what it gave up. */
export interface TrainingPlan {
  /** Of what will be trained; it may still not fit into memory. */
  price: TrainingPrice;
  wanted: Extent;
  /** What of that fits into the time. */
  inTime: Extent;
  /** Of that, with the fewest tokens at once, if it does not fit into memory. */
  refused?: TrainingPrice;
  /** Of the most layers that would fit then. */
  most?: TrainingPrice;
  /** Of fewer layers than will be trained. */
  cheaper: TrainingPrice[];
}

/** @param seconds that training may take */
export function planTraining(prices: PriceList, fixed: Fixed, seconds = Number.POSITIVE_INFINITY): TrainingPlan {
  const { layers } = prices;
  const { firstLayer, epochs } = prices.wanted;
  const price = (extent: Extent, changes: Partial<QloraSettings> = {}) =>
    prices.of({ firstLayer: layers - extent.layers, epochs: extent.epochs, ...changes });
  const wanted = { layers: layers - firstLayer, epochs };
  // Further runs are for the time that is left over.
  const inTime = fitBudget((extent) => price(extent, { runs: 1 }).told.seconds, wanted, fixed, seconds);
  /** With as much kept of a batch as fits, then as many tokens at once: fewer take less memory and hardly more time. */
  const withLayers = (count: number): TrainingPrice => {
    let { keptBytes, microTokens } = prices.wanted;
    let found = price({ ...inTime, layers: count });
    while (!prices.fits(found) && (keptBytes > 0 || microTokens > leastTokens)) {
      if (keptBytes > 0) keptBytes = keptBytes > leastKept ? keptBytes / 2 : 0;
      else microTokens /= 2;
      found = price({ ...inTime, layers: count }, { keptBytes, microTokens });
    }
    return found;
  };

  let chosen = withLayers(inTime.layers);
  const refused = prices.fits(chosen) ? undefined : chosen;
  const most = refused && mostThatFits(prices, inTime.layers - 1, withLayers);
  if (most && !fixed.layers) chosen = most;
  const counts = [...new Set([Math.ceil(layers / 2), Math.ceil(layers / 4)])].filter((n) => n < chosen.told.layers);
  const cheaper = counts.map(withLayers);
  return { price: chosen, wanted, inTime, refused, most, cheaper };
}

function mostThatFits(
  prices: PriceList,
  from: number,
  price: (layers: number) => TrainingPrice,
): TrainingPrice | undefined {
  for (let layers = from; layers > 0; layers--) {
    const found = price(layers);
    if (prices.fits(found)) return found;
  }
  return undefined;
}
