/** What a computation took: seconds, and those of all cores together that this process had meanwhile. */
export interface Spent {
  seconds: number;
  cores: number;
}

/** Seconds of computing that are judged together. */
const window = 0.2;
/** Shorter computations say nothing: waking the threads takes a part of them. */
const shortest = 0.005;
/** Cores that all threads together may lack: what measuring is off by. */
const lacking = (threads: number) => 0.25 + threads / 40;
/** Seconds until one more is tried, at first and at most: twice as long after each time in vain. */
const waits = { least: 1, most: 16 } as const;

/**
 * How many threads to compute with beside other programs. ggml's threads wait for one another after every operation, and spin: one
 * that waits for its core holds up all of them, and what the others burn meanwhile is lost to everybody. So there are as many as get a
 * core, and now and then one more is tried. No result depends on it (threads.test.ts).
 */
export class ThreadShare {
  /** Threads to compute with now. */
  now: number;
  private seconds = 0;
  private cores = 0;
  /** Seconds of computing until one more is tried. */
  private left = 0;
  private wait: number = waits.least;

  constructor(readonly most: number) {
    this.now = most;
  }

  /** To be told of every computation. */
  note({ seconds, cores }: Spent): void {
    if (this.most === 1 || seconds < shortest) return;
    this.seconds += seconds;
    this.cores += cores;
    if (this.seconds < window) return;
    this.judge(this.cores / this.seconds, this.seconds);
    this.seconds = 0;
    this.cores = 0;
  }

  /** @param got cores that were had on average @param seconds for how long */
  private judge(got: number, seconds: number): void {
    const most = got + lacking(this.now);
    if (this.now > 1 && most < this.now) {
      this.now = Math.max(1, Math.floor(most));
      this.left = this.wait;
      this.wait = Math.min(waits.most, 2 * this.wait);
      return;
    }
    this.left -= seconds;
    if (this.now === this.most) this.wait = waits.least;
    else if (this.left <= 0) this.now++;
  }
}
