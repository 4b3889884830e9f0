/** Times as people say them. */
const day = 86_400_000;

export function when(iso: string, now = Date.now()): string {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return '';
  const date = new Date(time);
  const clock = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (time >= midnight) return `today, ${clock}`;
  if (time >= midnight - day) return `yesterday, ${clock}`;
  return date.toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

/** "1 example", "3,000 examples". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en-US')} ${n === 1 ? one : many}`;
}

/** A rough time: "about 4 minutes". */
export function roughly(seconds: number): string {
  if (seconds < 8) return 'a few seconds';
  if (seconds < 50) return `about ${Math.round(seconds / 10) * 10} seconds`;
  if (seconds < 90) return 'about a minute';
  if (seconds < 3_300) return `about ${Math.round(seconds / 60)} minutes`;
  const hours = seconds / 3_600;
  return hours < 1.25 ? 'about an hour' : `about ${Number(hours.toFixed(hours < 5 ? 1 : 0))} hours`;
}

/** Bytes as people weigh them: "612 MB", "1.4 GB". */
export function size(n: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = n;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
