import { UsageError } from '../base/errors.js';
import { jsonDocument, jsonOf } from '../store/documents.js';
import type { Vault } from '../store/Vault.js';

/** After how long without being asked for anything the vault locks itself: a setting that lies in the vault, and the time that has passed. */

/** What the vault keeps it as. */
const IDLE = 'idle-lock';
export const MOST_MINUTES = 24 * 60;

export interface Clock {
  /** Milliseconds that have passed while the device was awake. */
  awake(): number;
  /** Milliseconds by the clock on the wall, which goes on while the device sleeps, and can be set. */
  wall(): number;
}

const system: Clock = { awake: () => performance.now(), wall: () => Date.now() };

export class Idle {
  private latest: { awake: number; wall: number };
  private set: number | undefined;

  constructor(private readonly clock: Clock = system) {
    this.latest = this.now();
  }

  private now() {
    return { awake: this.clock.awake(), wall: this.clock.wall() };
  }

  /** Undefined: it does not lock itself. */
  get minutes(): number | undefined {
    return this.set;
  }

  /** Somebody has asked for something. */
  asked(): void {
    this.latest = this.now();
  }

  /** Whether the time is over. */
  isOver(): boolean {
    if (this.set === undefined) return false;
    const now = this.now();
    // A device that slept for an hour was alone for an hour.
    const passed = Math.max(now.awake - this.latest.awake, now.wall - this.latest.wall);
    return passed >= this.set * 60_000;
  }

  /** The setting of a vault that was opened, which is being asked for something. */
  async read(vault: Vault): Promise<void> {
    const bytes = await vault.documents.get(IDLE, IDLE);
    this.set = bytes && jsonOf<{ minutes: number }>(bytes).minutes;
    this.asked();
  }

  /** @param minutes undefined: never @throws UsageError */
  async change(vault: Vault, minutes: number | undefined): Promise<void> {
    if (minutes === undefined) await vault.documents.delete(IDLE, IDLE);
    else if (!Number.isInteger(minutes) || minutes < 1 || minutes > MOST_MINUTES) {
      throw new UsageError({ found: `${minutes} minutes`, expected: `a whole number from 1 to ${MOST_MINUTES}` });
    } else await vault.documents.put(IDLE, IDLE, jsonDocument({ minutes }));
    this.set = minutes;
    this.asked();
  }
}
