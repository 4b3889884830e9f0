import { type DeltaSizes, type LinearRow, type Sizes, widthOf } from './family.js';

/** The order of a delta net's heads of values, which differs between GGUF and Hugging Face's folders. */

/** Values that head after head are moved as blocks: those behind the first `from`, in blocks of `unit`. */
export interface Tiles {
  readonly from: number;
  readonly unit: number;
  readonly sizes: DeltaSizes;
}

/** Where place `i` of GGUF's order is in the folder's. */
export function placeInFolder({ from, unit, sizes: { keyHeads, valueHeads } }: Tiles, i: number): number {
  if (i < from) return i;
  const head = Math.floor((i - from) / unit);
  const moved = (head % keyHeads) * (valueHeads / keyHeads) + Math.floor(head / keyHeads);
  return from + moved * unit + ((i - from) % unit);
}

/** Of a convolution's rows. */
export const convolvedTiles = (sizes: DeltaSizes): Tiles | undefined =>
  moved(sizes, 2 * sizes.keyHeads * sizes.headDim, sizes.headDim);

/** Of vectors with a value for each head. */
export const headTiles = (sizes: DeltaSizes): Tiles | undefined => moved(sizes, 0, 1);

/** Of a linear's outputs or inputs, as its row says; undefined where the order is the same. */
export function tilesOf(sizes: Sizes, { tiled, inputs, outputs }: LinearRow): Tiles | undefined {
  const { delta } = sizes;
  if (!tiled || !delta) return undefined;
  const widths = [tiled === 'inputs' ? inputs : outputs].flat();
  const from = widths.slice(0, -1).reduce((sum, width) => sum + widthOf(sizes, width), 0);
  return moved(delta, from, widths.at(-1) === 'deltaHeads' ? 1 : delta.headDim);
}

function moved(sizes: DeltaSizes, from: number, unit: number): Tiles | undefined {
  return sizes.keyHeads === 1 || sizes.keyHeads === sizes.valueHeads ? undefined : { from, unit, sizes };
}
