/** Number of elements at which two lists begin alike. */
export function sharedLength(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let shared = 0;
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++;
  return shared;
}
