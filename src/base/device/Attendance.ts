import { duration } from '../format.js';
import type { Device } from './Device.js';
import { quote } from './shell.js';
import { isTermux, isTermuxItself } from './thisDevice.js';

/** Milliseconds between two changes of a notification. Each is a process. */
const TELL_MS = 15_000;

/**
 * What a long piece of work asks of a phone while it lasts: not to fall asleep, and a notice of how far it is, with a button that stops it.
 * It holds no text of the user's: others see it on a locked screen. Elsewhere nothing is done.
 */
export class Attendance implements AsyncDisposable {
  private toldAt = Number.NEGATIVE_INFINITY;
  private telling = Promise.resolve(true);

  private constructor(
    private readonly device: Device,
    private readonly awake: AsyncDisposable | undefined,
    private readonly notice: { id: string; button?: { label: string; command: string } },
  ) {}

  /**
   * @param stop command line that stops the work in a way that can be gone on from
   * @param keepAwake whether a computer is kept awake, too
   */
  static async begin(device: Device, id: string, stop?: string, keepAwake = false): Promise<Attendance> {
    const awake = device.mobile || keepAwake ? await device.keepAwake() : undefined;
    const button = stop === undefined ? undefined : { label: 'Pause', command: stop };
    return new Attendance(device, awake, { id: `loam${id}`, button });
  }

  /** @param share 0 to 1 */
  progress(share: number, secondsLeft?: number): void {
    const now = performance.now();
    if (!this.device.mobile || now - this.toldAt < TELL_MS) return;
    this.toldAt = now;
    const left = secondsLeft === undefined ? '' : `, about ${duration(secondsLeft)} left`;
    const text = `${Math.floor(100 * share)} %${left}`;
    const notice = { ...this.notice, title: 'Loam is learning', text, ongoing: true };
    this.telling = this.telling.then(() => this.device.desk.notify(notice)).catch(() => false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.telling;
    if (this.toldAt !== Number.NEGATIVE_INFINITY) await this.device.desk.unnotify(this.notice.id);
    await this.awake?.[Symbol.asyncDispose]();
  }
}

/** A command line of this program, for a shell that knows nothing of this process's environment; undefined where it would not run. */
export function ownCommand(...args: string[]): string | undefined {
  const program = process.argv[1];
  // Within proot, paths mean something else to Termux's shell.
  if (program === undefined || (isTermux() && !isTermuxItself())) return undefined;
  const settings = ['LOAM_HOME', 'LOAM_GGML_DIR', 'LOAM_THREADS', 'PREFIX'].flatMap((name) => {
    const value = process.env[name];
    return value ? [`${name}=${quote(value)}`] : [];
  });
  return [...settings, ...[process.execPath, program, ...args].map(quote)].join(' ');
}
