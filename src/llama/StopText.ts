/** Finds texts that end an answer in text that arrives piece by piece, and lets nothing of them through. */
export class StopText {
  private held = '';
  /** The one that has come up. */
  found: string | undefined;

  constructor(private readonly stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop !== '');
  }

  /** @returns what may be shown: all that cannot be the beginning of a stop text */
  push(piece: string): string {
    let shown = '';
    // Character by character: what is found must not depend on where the pieces end.
    for (const character of piece) {
      if (this.found !== undefined) break;
      shown += this.next(character);
    }
    return shown;
  }

  private next(character: string): string {
    this.held += character;
    let end: number | undefined;
    for (const stop of this.stops) {
      const at = this.held.indexOf(stop);
      if (at < 0 || (end !== undefined && at >= end)) continue;
      end = at;
      this.found = stop;
    }
    if (end !== undefined) return this.held.slice(0, end);
    const keep = Math.max(0, ...this.stops.map((stop) => overlap(this.held, stop)));
    const shown = this.held.slice(0, this.held.length - keep);
    this.held = this.held.slice(this.held.length - keep);
    return shown;
  }

  /** The answer ended otherwise: what was held back. */
  end(): string {
    const rest = this.found === undefined ? this.held : '';
    this.held = '';
    return rest;
  }
}

/** Characters at the end of a text that begin another, but are not all of it. */
export function overlap(text: string, other: string): number {
  for (let n = Math.min(other.length - 1, text.length); n > 0; n--) {
    if (text.endsWith(other.slice(0, n))) return n;
  }
  return 0;
}
