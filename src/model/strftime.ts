/** Dates as chat templates write them: strftime(3) in English, whatever the language of the system, as Python does it for them. */

const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
] as const;
const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const;

const two = (n: number) => String(n).padStart(2, '0');
const twelve = (hour: number) => hour % 12 || 12;
const dayOfYear = (d: Date) =>
  1 + Math.round((Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) - Date.UTC(d.getFullYear(), 0, 1)) / 86_400_000);

const fields: Readonly<Record<string, (date: Date) => string>> = {
  Y: (d) => String(d.getFullYear()),
  y: (d) => two(d.getFullYear() % 100),
  m: (d) => two(d.getMonth() + 1),
  B: (d) => months[d.getMonth()]!,
  b: (d) => months[d.getMonth()]!.slice(0, 3),
  h: (d) => months[d.getMonth()]!.slice(0, 3),
  d: (d) => two(d.getDate()),
  e: (d) => String(d.getDate()).padStart(2),
  j: (d) => String(dayOfYear(d)).padStart(3, '0'),
  A: (d) => weekdays[d.getDay()]!,
  a: (d) => weekdays[d.getDay()]!.slice(0, 3),
  w: (d) => String(d.getDay()),
  u: (d) => String(d.getDay() || 7),
  H: (d) => two(d.getHours()),
  I: (d) => two(twelve(d.getHours())),
  M: (d) => two(d.getMinutes()),
  S: (d) => two(d.getSeconds()),
  p: (d) => (d.getHours() < 12 ? 'AM' : 'PM'),
  F: (d) => strftimeOf('%Y-%m-%d', d),
  D: (d) => strftimeOf('%m/%d/%y', d),
  T: (d) => strftimeOf('%H:%M:%S', d),
  R: (d) => strftimeOf('%H:%M', d),
  c: (d) => strftimeOf('%a %b %e %H:%M:%S %Y', d),
  x: (d) => strftimeOf('%m/%d/%y', d),
  X: (d) => strftimeOf('%H:%M:%S', d),
  '%': () => '%',
};

/** A date as a format has it, `-` taking the leading zero away; what is no known field stays as it is. */
function strftimeOf(format: string, date: Date): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (whole, minus: string, letter: string) => {
    const text = Object.hasOwn(fields, letter) ? fields[letter]!(date) : undefined;
    if (text === undefined) return whole;
    return minus === '' ? text : text.replace(/^[0 ]+(?=.)/, '');
  });
}

/** Text of a date. @param day YYYY-MM-DD, at noon; the present moment if there is none */
export function strftime(format: string, day: string | undefined): string {
  return strftimeOf(String(format), day === undefined ? new Date() : new Date(`${day}T12:00:00`));
}

/** Whether a value of a file is a day, as YYYY-MM-DD. */
export function isDay(value: unknown): value is string {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value));
}

/** Today where this device is, as YYYY-MM-DD. */
export function today(): string {
  return strftimeOf('%Y-%m-%d', new Date());
}

/**
 * The day on which models are measured and previewed without an adapter that names another, so that a figure does not change by itself:
 * the one that the template of Llama 3 names if it is told none.
 */
export const MEASURED_DAY = '2024-07-26';
