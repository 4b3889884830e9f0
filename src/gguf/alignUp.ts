/** `position` rounded up to a multiple of `alignment` (`GGML_PAD` of ggml.h), for whole numbers below 2^53. */
export function alignUp(position: number, alignment: number): number {
  const past = position % alignment;
  return past === 0 ? position : position + alignment - past;
}
