import type { StreamedArgument } from './form.js';

/** Lists and objects of a form's own syntax: undefined is what is broken. */
export abstract class ValueReader {
  constructor(
    protected readonly text: string,
    /** The place that is read next. */
    public at: number,
  ) {}

  /** Steps over a mark if it stands here. */
  protected abstract takes(mark: string): boolean;

  protected abstract value(depth: number): unknown;

  protected list(depth: number): unknown[] | undefined {
    const list: unknown[] = [];
    if (this.takes(']')) return list;
    do {
      const value = this.value(depth + 1);
      if (value === undefined) return undefined;
      list.push(value);
    } while (this.takes(','));
    return this.takes(']') ? list : undefined;
  }

  /** @param key reads a name and what stands between it and its value */
  protected entries(end: string, depth: number, key: () => string | undefined): Record<string, unknown> | undefined {
    const entries: [string, unknown][] = [];
    if (this.takes(end)) return {};
    for (;;) {
      const entry = this.entry(depth, key);
      if (!entry) return undefined;
      entries.push(entry);
      if (this.takes(',')) continue;
      return this.takes(end) ? Object.fromEntries(entries) : undefined;
    }
  }

  private entry(depth: number, key: () => string | undefined): [name: string, value: unknown] | undefined {
    const name = key();
    const value = name === undefined ? undefined : this.value(depth);
    return value === undefined ? undefined : [name!, value];
  }

  /** The next of some entries, as they arrive. @param end, depth, key as above */
  protected next(end: string, depth: number, key: () => string | undefined): StreamedArgument | undefined {
    if (this.takes(end)) return { isLast: true, end: this.at };
    const entry = this.entry(depth, key);
    if (!entry) return undefined;
    if (this.takes(',')) return { entry, isLast: false, end: this.at };
    return this.takes(end) ? { entry, isLast: true, end: this.at } : undefined;
  }
}
