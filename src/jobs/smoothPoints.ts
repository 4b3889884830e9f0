export interface Point {
  x: number;
  y: number;
}

/** Largest share of a curve that one value of its smoothed form looks back on. */
const SHARE = 1 / 15;
const MOST = 50;

/**
 * The exponential mean of a curve up to each point, in the order given. The first points are not drawn towards 0 (bias correction of
 * Kingma and Ba 2015, section 3).
 */
export function smoothPoints(points: readonly Point[]): Point[] {
  const span = Math.min(MOST, Math.max(1, points.length * SHARE));
  const keep = 1 - 2 / (span + 1);
  let sum = 0;
  let weight = 0;
  return points.map(({ x, y }) => {
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return { x, y: sum / weight };
  });
}
