/** Finds texts that end an answer in text that arrives piece by piece, and lets nothing of them through. */
export class StopText {
  private held = '';
  found = false;

  constructor(private readonly stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop !== '');
  }

  /** @returns what may be shown: all that cannot be the beginning of a stop text */
  push(piece: string): string {
    let shown = '';
    // Character by character: what is found must not depend on where the pieces end.
    for (const character of piece) {
      if (this.found) break;
      shown += this.next(character);
    }
    return shown;
  }

  private next(character: string): string {
    this.held += character;
    const ends = this.stops.map((stop) => this.held.indexOf(stop)).filter((at) => at >= 0);
    if (ends.length > 0) {
      this.found = true;
      return this.held.slice(0, Math.min(...ends));
    }
    const keep = Math.max(0, ...this.stops.map((stop) => this.overlap(stop)));
    const shown = this.held.slice(0, this.held.length - keep);
    this.held = this.held.slice(this.held.length - keep);
    return shown;
  }

  /** The answer ended otherwise: what was held back. */
  end(): string {
    const rest = this.found ? '' : this.held;
    this.held = '';
    return rest;
  }

  /** Characters at the end of what is held that begin `stop`. */
  private overlap(stop: string): number {
    for (let n = Math.min(stop.length - 1, this.held.length); n > 0; n--) {
      if (this.held.endsWith(stop.slice(0, n))) return n;
    }
    return 0;
  }
}
