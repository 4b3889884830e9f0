import type { Device } from '../base/device/Device.js';
import { celsiusOf, type Reading } from '../base/device/Reading.js';
import { thisDevice } from '../base/device/thisDevice.js';
import { Watch } from '../base/device/Watch.js';
import { EnergyMeter, type EnergyReading, readEnergy } from '../base/energy.js';
import { pauseFor } from './whileAllowed.js';

/** What a stage does to the device while it works, and the rests that it takes when the device gets hot. */

/** Degrees of a battery from which chargers and processors are throttled; a processor looks after itself. */
const HOT_BATTERY = 45;
/** Degrees below the limit from which on work is slowed down. */
const NEAR = 5;
/** Time of rest for each of work, at the limit. */
const MOST_REST = 3;

/** Rest for each second of work, rising towards a limit. The steps are as they are, so the result is the same to the last bit. */
export function restShare(reading: Reading, maxCelsius: number | undefined): number {
  const heat = celsiusOf(reading);
  const limit = maxCelsius ?? (heat?.of === 'battery' ? HOT_BATTERY : undefined);
  if (!heat || limit === undefined) return 0;
  return MOST_REST * Math.min(1, Math.max(0, (heat.celsius - (limit - NEAR)) / NEAR));
}

/** What a stage has taken. Figures that the device did not tell, or not for all of the time, are left out. */
export interface Taken {
  energyJoules?: number;
  /** Percent of the battery; only of a stage that ran on it from beginning to end. */
  batteryPercent?: number;
  /** The highest temperature, of the battery where it is told, else of the processor. */
  peakCelsius?: number;
}

export class DeviceLog implements Disposable {
  private readonly watch: Watch;
  private readonly meter: EnergyMeter;
  private readonly first: Reading;
  private charged = false;
  private peak: number | undefined;
  private workedSince = performance.now();
  /** Seconds of rest so far. */
  rested = 0;

  private constructor(
    private readonly device: Device,
    private latest: Reading,
    private readonly maxCelsius: number | undefined,
  ) {
    this.first = latest;
    this.note(latest);
    // Where the kernel tells apps nothing, Termux:API tells what is left in the battery.
    this.meter = new EnergyMeter(() => readEnergy() ?? batteryEnergy(this.latest));
    this.watch = new Watch(() => this.look());
  }

  static async begin(maxCelsius: number | undefined, device = thisDevice()): Promise<DeviceLog> {
    return new DeviceLog(device, await device.read(), maxCelsius);
  }

  private async look(): Promise<void> {
    this.note(await this.device.read());
    this.meter.joules();
  }

  private note(reading: Reading): void {
    this.latest = reading;
    this.charged ||= reading.battery?.charging ?? true;
    const heat = celsiusOf(reading)?.celsius;
    if (heat !== undefined) this.peak = Math.max(heat, this.peak ?? heat);
  }

  /** After a piece of work: rests, if the device is hot, in proportion to how long it took. Ends early when the signal fires. */
  async rest(signal: AbortSignal | undefined): Promise<void> {
    const worked = performance.now() - this.workedSince;
    const share = restShare(this.latest, this.maxCelsius);
    if (share > 0) {
      const began = performance.now();
      await pauseFor(share * worked, signal);
      this.rested += (performance.now() - began) / 1000;
    }
    this.workedSince = performance.now();
  }

  async taken(): Promise<Taken> {
    await this.look().catch(() => {});
    const { first, latest, charged, peak } = this;
    const energyJoules = this.meter.joules();
    const percent =
      charged || !first.battery || !latest.battery ? undefined : first.battery.percent - latest.battery.percent;
    return {
      ...(energyJoules !== undefined && { energyJoules }),
      ...(percent !== undefined && percent >= 0 && { batteryPercent: percent }),
      ...(peak !== undefined && { peakCelsius: peak }),
    };
  }

  [Symbol.dispose](): void {
    this.watch[Symbol.dispose]();
  }
}

function batteryEnergy({ battery }: Reading): EnergyReading | undefined {
  if (!battery?.left) return undefined;
  const status = battery.charging ? 'Charging' : 'Discharging';
  return { source: 'battery', batteries: [{ name: 'battery', status, left: battery.left }] };
}
