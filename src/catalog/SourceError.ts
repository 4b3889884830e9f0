import { type Fault, LoamError } from '../util/errors.js';

/** One source of a model failed. Another source may still do; `transient` says whether this one is worth another try. */
export class SourceError extends LoamError {
  override readonly name = 'SourceError';
  readonly transient: boolean;
  /** Pause the server asked for, milliseconds. */
  readonly waitMs: number | undefined;
  /** True when what was kept of an earlier download is of no use: it must start again from nothing. */
  readonly startOver: boolean;
  /** True when the source is reachable and only asks for patience (429, 5xx). */
  readonly busy: boolean;
  /** True when there is no way to the host at all: worth another try only after it has answered before. */
  readonly offline: boolean;
  constructor(
    fault: Fault,
    how: {
      transient?: boolean;
      waitMs?: number;
      startOver?: boolean;
      busy?: boolean;
      offline?: boolean;
      cause?: unknown;
    } = {},
  ) {
    super(fault, how.cause === undefined ? undefined : { cause: how.cause });
    this.transient = how.transient ?? false;
    this.waitMs = how.waitMs;
    this.startOver = how.startOver ?? false;
    this.busy = how.busy ?? false;
    this.offline = how.offline ?? false;
  }
}
