/** What may be given up to end in time. */
export interface Plan {
  layers: number;
  epochs: number;
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
 * again. What the user chose (`fixed`) stays as it is.
 *
 * @param price seconds that so many top layers and epochs take; grows with both
 * @param seconds what there is
 */
export function fitBudget(
  price: (plan: Plan) => number,
  wanted: Plan,
  fixed: { layers: boolean; epochs: boolean },
  seconds: number,
): Plan {
  const fits = (plan: Plan) => price(plan) <= seconds;
  if (fits(wanted)) return wanted;
  /** Most epochs that fit with so many layers, from `least` on. */
  const most = (layers: number, least: number): Plan => {
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
