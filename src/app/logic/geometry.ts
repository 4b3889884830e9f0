import { axisTicks, type Point, smoothPoints, type Tick, thinPoints } from '../../base/curve.js';
import type { Job } from '../../serve/contract/jobs.js';

/** Where things stand on the page: the curves of a run in their box, and which rows of a long list are in view. */

interface CurveShape {
  /** Lines as SVG path data. `area` is the smoothed line closed along the bottom. */
  raw: string;
  smooth: string;
  area: string;
  validation: string;
  validationPoints: Point[];
  x: (Tick & { place: number })[];
  y: (Tick & { place: number })[];
  /** Where the best validation stands. */
  best?: Point & { value: number };
}

/** Points that can be told apart on a phone. */
const MOST_POINTS = 500;

/** Lays the curves of a run out in a box of `width` x `height` units, with room for the axes at the left and below. */
export function curveShape(curve: Job['curve'], size: { width: number; height: number }): CurveShape | undefined {
  const [train, validation] = [curve.train, curve.validation].map((pairs) =>
    pairs.map(([x, y]) => ({ x, y })).filter(({ y }) => Number.isFinite(y)),
  ) as [Point[], Point[]];
  const all = [...train, ...validation];
  if (all.length === 0) return undefined;
  const plot = { left: 38, right: size.width - 8, top: 10, bottom: size.height - 22 };
  const smooth = smoothPoints(train);
  let [low, high, last, first] = [Number.POSITIVE_INFINITY, 0, curve.steps ?? 1, Number.POSITIVE_INFINITY];
  for (const { x, y } of all) {
    low = Math.min(low, y);
    high = Math.max(high, y);
    last = Math.max(last, x);
    first = Math.min(first, x);
  }
  if (last <= first) last = first + 1;
  const room = high > low ? 0.06 * (high - low) : Math.max(0.1, high / 10);
  low = Math.max(0, low - 2 * room);
  high += room;
  const x = (value: number) => plot.left + ((value - first) / (last - first)) * (plot.right - plot.left);
  const y = (value: number) => plot.bottom - ((value - low) / (high - low)) * (plot.bottom - plot.top);
  const path = (points: readonly Point[]) =>
    thinPoints(points, MOST_POINTS)
      .map((p, i) => `${i === 0 ? 'M' : 'L'}${x(p.x).toFixed(1)},${y(p.y).toFixed(1)}`)
      .join('');
  const best = validation.reduce<Point | undefined>((a, b) => (a === undefined || b.y < a.y ? b : a), undefined);
  const area =
    smooth.length > 1
      ? `${path(smooth)}L${x(smooth.at(-1)!.x).toFixed(1)},${plot.bottom}L${x(smooth[0]!.x).toFixed(1)},${plot.bottom}z`
      : '';
  return {
    raw: path(train),
    smooth: path(smooth),
    area,
    validation: path(validation),
    validationPoints: thinPoints(validation, 60).map((p) => ({ x: x(p.x), y: y(p.y) })),
    x: axisTicks(first, last, 4, true).map((tick) => ({ ...tick, place: x(tick.at) })),
    y: axisTicks(low, high, 4).map((tick) => ({ ...tick, place: y(tick.at) })),
    best: best && { x: x(best.x), y: y(best.y), value: best.y },
  };
}

/**
 * Which rows of a long list are worth having in the document: those in view and `spare` rows on either side. Rows are all of one
 * height. `to` is exclusive.
 */
export function visibleRange(
  view: { top: number; height: number },
  list: { rows: number; rowHeight: number },
  spare = 8,
): { from: number; to: number } {
  const first = Math.floor(view.top / list.rowHeight);
  const last = Math.ceil((view.top + view.height) / list.rowHeight);
  const from = Math.min(Math.max(0, first - spare), list.rows);
  return { from, to: Math.max(from, Math.min(list.rows, last + spare)) };
}
