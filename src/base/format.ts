/** Numbers as people read them. */

/** 1,234,567 */
export function count(n: number | bigint): string {
  return n.toLocaleString('en-US');
}

/** Bytes in decimal units, as disks and downloads are labelled: "98.4 MB". */
export function bytes(n: number | bigint): string {
  let value = Number(n);
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  // 999.95 would be shown as 1000.0.
  while (value >= (unit === 0 ? 1000 : 999.95) && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${count(value)} bytes` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** The first `most` of several things, and how many more there are: "a; b; and 3 more". */
export function listFirst(things: readonly string[], most = 5, separator = '; '): string {
  const rest = things.length - most;
  return [...things.slice(0, most), ...(rest > 0 ? [`and ${count(rest)} more`] : [])].join(separator);
}

/** Seconds as "4.2 s", "1 min 05 s", "2 h 03 min". */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
}

/** Number of elements at which two lists begin alike. */
export function sharedLength(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let shared = 0;
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++;
  return shared;
}

/** A text as part of a regular expression that matches it, with the flag u or without. */
export function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
