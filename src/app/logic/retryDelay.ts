/** The longest wait, in milliseconds: a server that comes back is seen within this time. */
const LONGEST = 10_000;

/**
 * Milliseconds to wait before attempt number `attempt` (from 1) to reach the server again: doubled each time, half of it by chance, so
 * that several pages do not ask at one moment.
 */
export function retryDelay(attempt: number, random = Math.random()): number {
  const full = Math.min(LONGEST, 500 * 2 ** Math.max(0, attempt - 1));
  return full / 2 + (full / 2) * random;
}
