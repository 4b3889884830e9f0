/** Curves to be drawn: ticks of an axis, smoothing, thinning. */

export interface Tick {
  at: number;
  label: string;
}

/**
 * Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`, about `wanted` of them, labelled with the digits that
 * tell them apart. Bounds must be finite, `low` below `high`.
 *
 * @param whole ticks at whole numbers only, for steps and other counts
 */
export function axisTicks(low: number, high: number, wanted: number, whole = false): Tick[] {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const ratio = rough / power;
  // Bounds for which there are two to six ticks where four are wanted.
  const round = (ratio < 1.2 ? 1 : ratio < 2.6 ? 2 : ratio < 6 ? 5 : 10) * power;
  const step = whole ? Math.max(1, round) : round;
  const ticks: Tick[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    // Without the last bits, 3 · 0.1 is 0.3; without "+ 0", i = -0 would be "-0".
    const at = Number((i * step).toPrecision(12)) + 0;
    ticks.push({ at, label: label(at, step, Math.max(Math.abs(low), Math.abs(high))) });
  }
  return ticks;
}

function label(at: number, step: number, largest: number): string {
  if (at === 0) return '0';
  const exponent = (n: number) => Math.floor(Math.log10(n) + 1e-9);
  if (largest < 0.01 || largest >= 1e9) {
    const digits = Math.max(0, exponent(Math.abs(at)) - exponent(step));
    return at
      .toExponential(digits)
      .replace(/\.?0+e/, 'e')
      .replace('e+', 'e');
  }
  if (largest >= 10_000 && step >= 100) return compact.format(at);
  return plain.format(at);
}

/** Made once: `toLocaleString` makes one for each label. */
const plain = new Intl.NumberFormat('en-US', { maximumFractionDigits: 12 });

/** 12,500 as "12.5K": the room beside an axis is that of seven digits. */
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 3 });

export interface Point {
  x: number;
  y: number;
}

/** Largest share of a curve that one smoothed value looks back on. */
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
