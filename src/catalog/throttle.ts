/** Says whether it is time for another progress event: at most one every `milliseconds`, the first at once. */
export function throttle(milliseconds: number): () => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - last < milliseconds) return false;
    last = now;
    return true;
  };
}
