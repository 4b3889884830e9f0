/** Halfway cases to the even digit, as Python rounds; JavaScript takes the larger. */
function toFixedEven(value: number, digits: number): string {
  const scaled = value * 10 ** digits;
  const halfway = scaled - Math.floor(scaled) === 0.5;
  return halfway && Math.floor(scaled) % 2 === 0
    ? (Math.floor(scaled) / 10 ** digits).toFixed(digits)
    : value.toFixed(digits);
}

/** "135M", "1.1B": the number of weights, to two digits at least (gguf-py/gguf/utility.py, model_weight_count_rounded_notation). */
export function sizeLabel(weights: number): string {
  const [scale, unit] =
    weights > 1e12 ? [1e-12, 'T'] : weights > 1e9 ? [1e-9, 'B'] : weights > 1e6 ? [1e-6, 'M'] : [1e-3, 'K'];
  const scaled = weights * scale;
  const digits = toFixedEven(scaled, 0).replace(/^0+/, '').length;
  return `${toFixedEven(scaled, Math.max(2 - digits, 0))}${unit}`;
}
