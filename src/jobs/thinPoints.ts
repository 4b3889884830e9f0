import type { Point } from './smoothPoints.js';

/**
 * At most `most` points that draw the same curve: of each stretch the lowest and the highest, so that no peak is lost, in their order;
 * and both ends.
 */
export function thinPoints(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const stretches = Math.max(1, Math.floor((most - 2) / 2));
  const kept = new Set([0, points.length - 1]);
  for (let i = 0; i < stretches; i++) {
    const from = Math.floor((i * points.length) / stretches);
    const to = Math.floor(((i + 1) * points.length) / stretches);
    let [low, high] = [from, from];
    for (let j = from; j < to; j++) {
      if (points[j]!.y < points[low]!.y) low = j;
      if (points[j]!.y > points[high]!.y) high = j;
    }
    kept.add(low).add(high);
  }
  return [...kept].sort((a, b) => a - b).map((i) => points[i]!);
}
