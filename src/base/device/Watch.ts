/** Milliseconds between two looks at the device. On a phone each starts a process or two. */
const LOOK_MS = 30_000;

/** LOAM_DEVICE_SECONDS is for tests, which do not wait that long. */
export function lookEvery(): number {
  const seconds = Number(process.env.LOAM_DEVICE_SECONDS);
  return seconds > 0 ? 1000 * seconds : LOOK_MS;
}

/** Looks at a device again and again until it is disposed of; each look begins some time after the one before has ended. */
export class Watch implements Disposable {
  private timer: NodeJS.Timeout | undefined;
  private ended = false;

  /** @param look a failure is passed over: the next one comes */
  constructor(private readonly look: () => Promise<void>) {
    this.wait();
  }

  private wait(): void {
    this.timer = setTimeout(() => void this.next(), lookEvery()).unref();
  }

  private async next(): Promise<void> {
    await this.look().catch(() => {});
    if (!this.ended) this.wait();
  }

  [Symbol.dispose](): void {
    this.ended = true;
    clearTimeout(this.timer);
  }
}
