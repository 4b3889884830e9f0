/**
 * Learning rate of step 1..total: linear warm-up, then half a cosine down to `floor` (Loshchilov and Hutter 2017).
 * @returns a factor of the peak rate
 */
export function rateAt(step: number, total: number, warmup: number, floor: number): number {
  if (step <= warmup) return step / warmup;
  const done = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * done));
}
