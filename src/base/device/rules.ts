import { LoamError, UsageError } from '../errors.js';
import { bytes, duration } from '../format.js';
import { duration as durationOption, flag, integer, type Schema, text, type Values } from '../options.js';
import { celsiusOf, type Reading } from './Reading.js';

/** When work may be done on a device: what is asked of it, and what is not so at a moment, in words. */

export const ruleOptions = {
  whileCharging: flag('Run only while the device is charging or on mains; otherwise wait, and go on by itself.'),
  minBattery: integer([1, 100], 'Run only while the battery has at least this many percent.', { advanced: true }),
  maxCelsius: integer(
    [20, 110],
    'Run only below this temperature, of the battery where it is told, else of the processor; slower when close to it.',
    { advanced: true },
  ),
  hours: text('FROM-TO', 'Run only between these hours, such as 22:00-6:30, by the clock of the device.', {
    advanced: true,
  }),
  idle: durationOption('Run only while nobody has used the device for this long, such as 5m.', { advanced: true }),
  minMemory: integer([1, 1 << 20], 'Pause while less than this many megabytes of memory are free.', {
    advanced: true,
  }),
} as const satisfies Schema;

export type Rules = Values<typeof ruleOptions>;

/** Names of the rules. */
export const ruleNames = Object.keys(ruleOptions) as (keyof Rules)[];

export function hasRules(rules: Partial<Rules>): boolean {
  return ruleNames.some((name) => rules[name] !== undefined && rules[name] !== false);
}

/** How much better than its limit a figure must be before work goes on: otherwise it would stop and go from one moment to the next. */
const margin = { battery: 3, celsius: 3 } as const;

/** A rule that is not kept, and a clause on why. */
export interface Broken {
  rule: keyof Rules;
  clause: string;
  /** The device does not tell what the rule is about: waiting will not help. */
  untold?: true;
}

/**
 * What of the rules is not kept; empty: work may be done.
 * @param wasRunning whether work is being done; where it was not, figures must be a little better than their limits
 * @param needs bytes of memory that the work took back by pausing, and needs again
 */
export function broken(
  rules: Partial<Rules>,
  reading: Reading,
  { wasRunning, needs = 0 }: { wasRunning: boolean; needs?: number },
): Broken[] {
  const { whileCharging, minBattery, maxCelsius, hours, idle, minMemory } = rules;
  const { battery, freeMemory } = reading;
  const found: Broken[] = [];
  const say = (rule: keyof Rules, clause: string) => found.push({ rule, clause });
  const unknown = (rule: keyof Rules, what: string) =>
    found.push({ rule, clause: `the device does not tell ${what}`, untold: true });
  if (whileCharging && battery === undefined) unknown('whileCharging', 'whether it is charging');
  if (whileCharging && battery && !battery.charging)
    say('whileCharging', `it is not charging (battery at ${battery.percent} %)`);
  if (minBattery !== undefined && battery === undefined) unknown('minBattery', 'how full the battery is');
  if (minBattery !== undefined && battery) {
    const least = wasRunning ? minBattery : Math.min(100, minBattery + margin.battery);
    const short = battery.percent < minBattery || (battery.percent < least && !battery.charging);
    if (short) say('minBattery', `the battery is at ${battery.percent} %, and ${minBattery} % are asked for`);
  }
  if (maxCelsius !== undefined) {
    const heat = celsiusOf(reading);
    const most = wasRunning ? maxCelsius : maxCelsius - margin.celsius;
    if (!heat) unknown('maxCelsius', 'its temperature');
    else if (heat.celsius > most)
      say('maxCelsius', `the ${heat.of} has ${heat.celsius.toFixed(0)} °C, and at most ${maxCelsius} °C are allowed`);
  }
  if (hours !== undefined && !within(hours, reading.at))
    say('hours', `it is ${clock(reading.at)}, and not between ${hours}`);
  if (idle !== undefined) {
    const { idleSeconds } = reading;
    if (idleSeconds === undefined) unknown('idle', 'whether somebody uses it');
    else if (idleSeconds < idle) say('idle', `somebody used it less than ${duration(idle)} ago`);
  }
  if (minMemory !== undefined) {
    const least = 1e6 * minMemory + (wasRunning ? 0 : needs);
    if (freeMemory < least) say('minMemory', `only ${bytes(freeMemory)} of memory are free`);
  }
  return found;
}

/** @throws LoamError (unsupported) for rules about what this device does not tell */
export function requireTold(rules: Partial<Rules>, reading: Reading): void {
  const untold = broken(rules, reading, { wasRunning: true }).filter((one) => one.untold);
  if (untold.length === 0) return;
  throw new LoamError({
    code: 'unsupported',
    found: untold.map(({ clause }) => clause).join('; '),
    fix: 'leave out that rule; on Android, install the Termux:API app and `pkg install termux-api`',
  });
}

/** @throws UsageError for a rule that says nothing */
export function checkRules({ hours }: Partial<Rules>): void {
  if (hours !== undefined) parseHours(hours);
}

/** A time of day in minutes. */
function minutes(text: string): number | undefined {
  const found = /^(\d{1,2})(?:[:.](\d{2}))?$/.exec(text.trim());
  const [hour, minute] = [Number(found?.[1]), Number(found?.[2] ?? 0)];
  return found && minute < 60 && (hour < 24 || (hour === 24 && minute === 0)) ? 60 * hour + minute : undefined;
}

/** From and to, in minutes of the day. @throws UsageError */
function parseHours(text: string): [from: number, to: number] {
  const [from, to, ...more] = text.split(/[-–]/).map(minutes);
  if (from !== undefined && to !== undefined && from !== to && more.length === 0) return [from, to];
  throw new UsageError({ found: `"${text}"`, expected: 'two times of the day, such as 22:00-6:30', where: 'hours' });
}

/** Hours over midnight are in two days. */
function within(hours: string, at: Date): boolean {
  const [from, to] = parseHours(hours);
  const now = 60 * at.getHours() + at.getMinutes();
  return from < to ? now >= from && now < to : now >= from || now < to;
}

function clock(at: Date): string {
  return `${at.getHours()}:${String(at.getMinutes()).padStart(2, '0')}`;
}

/** Why something waits, as one sentence. */
export function waitsBecause(found: readonly Omit<Broken, 'rule'>[]): string {
  const clauses = [...new Set(found.map(({ clause }) => clause))];
  return `waits: ${clauses.join('; ')}${found.some(({ untold }) => untold) ? '' : '; it goes on by itself'}`;
}
