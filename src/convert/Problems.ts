import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';

/** Shown in a message; the rest is counted. */
const SHOWN = 8;

/** Collects what is wrong with a folder, so that it is told once and as a whole. */
export class Problems {
  private readonly found: string[] = [];

  add(problem: string): void {
    this.found.push(problem);
  }

  /** @throws LoamError with every problem so far */
  throwIfAny(where: string): void {
    if (this.found.length === 0) return;
    const shown = this.found.slice(0, SHOWN).join('; ');
    const rest = this.found.length - SHOWN;
    throw new LoamError({
      found: `this model cannot be converted: ${shown}${rest > 0 ? `; and ${count(rest)} more` : ''}`,
      where,
    });
  }
}
