/** How a device stands at a moment. Needs nothing of Node: the page reads the rules about it. */

export interface Reading {
  /** By the clock of the device, in its own time zone. */
  at: Date;
  /** Null: it has none, and runs on mains. Undefined: it does not tell. */
  battery?: Battery | null;
  /** Degrees Celsius of the hottest part of the processor. */
  processorCelsius?: number;
  /** Seconds since somebody has used it. */
  idleSeconds?: number;
  /** Bytes that may still be taken without pushing out anything in use. */
  freeMemory: number;
}

/** All batteries of a device as one. */
export interface Battery {
  /** 0 to 100. */
  percent: number;
  /** On external power, and not running down in spite of it; a full battery counts. */
  charging: boolean;
  celsius?: number;
  /** What is left in it, where the system tells. */
  left?: { joules: number } | { coulombs: number; volts: number };
}

/** The temperature that rules are about: the battery's, which ages by it, where it is told; otherwise the processor's. */
export function celsiusOf({
  battery,
  processorCelsius,
}: Reading): { of: 'battery' | 'processor'; celsius: number } | undefined {
  if (battery?.celsius !== undefined) return { of: 'battery', celsius: battery.celsius };
  return processorCelsius === undefined ? undefined : { of: 'processor', celsius: processorCelsius };
}

/** A temperature that a sensor can mean: drivers without an answer give 0, or the least number there is. */
export function plausible(celsius: number | undefined): number | undefined {
  return celsius !== undefined && Number.isFinite(celsius) && celsius > -40 && celsius !== 0 && celsius < 150
    ? celsius
    : undefined;
}
