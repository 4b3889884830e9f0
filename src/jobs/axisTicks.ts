export interface Tick {
  at: number;
  label: string;
}

/**
 * Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`, about `wanted` of them, labelled with the digits that
 * tell them apart. The bounds must be finite and `low` below `high`.
 *
 * @param whole for steps and other things counted: ticks at whole numbers only
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
  return at.toLocaleString('en-US', { maximumFractionDigits: 12 });
}

/** 12,500 as "12.5K": the room beside an axis is that of seven digits. */
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 3 });
