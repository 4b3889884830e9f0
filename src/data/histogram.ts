export interface Bucket {
  /** First integer of the bucket. */
  from: number;
  /** First integer behind it. */
  to: number;
  count: number;
}

/** The least of 1, 2, 5, 10, 20, 50, ... that is at least `width`. */
function roundWidth(width: number): number {
  for (let power = 1; ; power *= 10) for (const step of [1, 2, 5]) if (step * power >= width) return step * power;
}

/**
 * Counts lengths in at most `buckets` ranges of equal, round width that start at a multiple of it; empty ranges between are kept.
 * @param lengths integers >= 0 (tokens, characters)
 * @throws RangeError for other numbers, or fewer than 2 buckets
 */
export function histogram(lengths: readonly number[], buckets = 10): Bucket[] {
  if (!Number.isInteger(buckets) || buckets < 2) throw new RangeError(`${buckets} buckets, expected at least 2`);
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const length of lengths) {
    if (!Number.isSafeInteger(length) || length < 0) throw new RangeError(`length ${length}, expected an integer >= 0`);
    least = Math.min(least, length);
    most = Math.max(most, length);
  }
  if (lengths.length === 0) return [];
  // Starting at a multiple of the width may take one range more than the width alone asks for.
  const ranges = (width: number) => Math.floor(most / width) - Math.floor(least / width) + 1;
  let width = roundWidth((most - least + 1) / buckets);
  while (ranges(width) > buckets) width = roundWidth(width + 1);
  const first = Math.floor(least / width);
  const out = Array.from({ length: ranges(width) }, (_, i) => ({
    from: (first + i) * width,
    to: (first + i + 1) * width,
    count: 0,
  }));
  for (const length of lengths) out[Math.floor(length / width) - first]!.count++;
  return out;
}
