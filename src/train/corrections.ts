import { arch, cpus, hostname } from 'node:os';
import { systemCode } from '../base/errors.js';
import { writeFileAtomic } from '../base/io.js';
import { openOwn } from '../base/ownFiles.js';
import { loamHome } from '../base/process.js';

const VERSION = 1;

/** A file of corrections has a line for each of a few dozen keys. */
const MAX_BYTES = 1 << 20;

/** A factor beyond this is a broken quote or a laptop that slept, and correcting by it would do more harm than none. */
const MOST = 4;

/** The same for what is learnt as it is, such as watts, and not as a correction: devices differ by more. */
const MOST_RATE = 1e5;
const rates = ['watts', 'drain', 'heat'] as const;
/** Watts while training; percent of the battery per hour; degrees Celsius at most. */
export type Rate = (typeof rates)[number];

/** Weight of a new run once there have been a few: about the last three decide, since devices heat up and are updated. */
const WEIGHT = 0.3;

interface Correction {
  factor: number;
  runs: number;
}
type Devices = Map<string, Map<string, Correction>>;

/**
 * What was learnt on this device about its quotes: for each key (`time.qlora`) the factor by which the truth exceeded the quote.
 * Kept in `device.json`. It only makes quotes better, so nothing that is wrong with the file is an error.
 */
export class Corrections {
  private constructor(
    private readonly path: string,
    private readonly device: string,
    private devices: Devices,
  ) {}

  /** @param device a home folder may be shared by several machines */
  static async open(path = loamHome('device.json'), device = thisDevice()): Promise<Corrections> {
    return new Corrections(path, device, (await readDevices(path)) ?? new Map());
  }

  /** What to multiply a quote by: from 0.25 to 4, and 1 if nothing has been learnt. */
  correctionFor(key: string): number {
    return this.devices.get(this.device)?.get(key)?.factor ?? 1;
  }

  /** What this device takes; undefined before a run has told. */
  rate(key: Rate): number | undefined {
    return this.devices.get(this.device)?.get(key)?.factor;
  }

  async learnRate(key: Rate, truth: number): Promise<boolean> {
    return await this.learn(key, 1, truth);
  }

  /**
   * Learns from a finished run: the first counts in full, the next ones as in a mean, and later ones more than old ones, in the
   * logarithm, in which twice and half as much cancel out. Quotes and truths that are no positive numbers are passed over.
   *
   * @param quoted as estimated, before any correction; in the unit of `truth`
   * @returns false when it could not be written down; it then holds for this object only
   */
  async learn(key: string, quoted: number, truth: number): Promise<boolean> {
    const ratio = truth / quoted;
    if (![quoted, truth, ratio].every((figure) => figure > 0 && Number.isFinite(figure))) return false;
    // Another process may have learnt something in the meantime.
    const found = await readDevices(this.path);
    const devices = found ?? this.devices;
    const known = devices.get(this.device) ?? new Map<string, Correction>();
    const { factor, runs } = known.get(key) ?? { factor: 1, runs: 0 };
    const weight = Math.max(WEIGHT, 1 / (runs + 1));
    const log = (1 - weight) * Math.log(factor) + weight * Math.log(clamp(key, ratio));
    known.set(key, { factor: clamp(key, Math.exp(log)), runs: runs + 1 });
    devices.set(this.device, known);
    this.devices = devices;
    const plain = Object.fromEntries([...devices].map(([name, keys]) => [name, Object.fromEntries(keys)]));
    // What the disk does not give now must not be written over.
    if (!found) return false;
    try {
      await writeFileAtomic(this.path, `${JSON.stringify({ version: VERSION, devices: plain }, null, 2)}\n`);
      return true;
    } catch {
      // A full disk must not fail the run whose end this is.
      return false;
    }
  }
}

function clamp(key: string, factor: number): number {
  const most = (rates as readonly string[]).includes(key) ? MOST_RATE : MOST;
  return Math.min(most, Math.max(1 / most, factor));
}

function thisDevice(): string {
  const processors = cpus();
  return `${hostname()}, ${processors[0]?.model.trim() || arch()} x ${processors.length}`;
}

async function readWhole(path: string): Promise<string> {
  await using file = await openOwn(path);
  return (await file.stat()).size > MAX_BYTES ? '' : await file.readFile('utf8');
}

/** What of a file makes sense; nothing of one that is not there, not ours, or damaged; undefined if the disk does not give it. */
async function readDevices(path: string): Promise<Devices | undefined> {
  const devices: Devices = new Map();
  try {
    const { version, devices: found } = JSON.parse(await readWhole(path)) as Record<string, unknown>;
    if (version !== VERSION) return devices;
    for (const [device, keys] of Object.entries(found as object)) {
      const known = new Map<string, Correction>();
      for (const [key, value] of Object.entries(keys as object)) {
        const { factor, runs } = (value ?? {}) as Partial<Correction>;
        if (typeof factor !== 'number' || !Number.isSafeInteger(runs) || runs! < 1 || clamp(key, factor) !== factor)
          continue;
        known.set(key, { factor, runs: runs! });
      }
      devices.set(device, known);
    }
  } catch (error) {
    const code = systemCode(error);
    return code === undefined || code === 'ENOENT' || code === 'ENOTDIR' ? new Map() : undefined;
  }
  return devices;
}
