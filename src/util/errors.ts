/** The few error classes of Loam. A message is one sentence: what was found, what was expected, where, what to do. */

export interface Fault {
  /** What is wrong, as found: "the file ends after 1,024 bytes". */
  found: string;
  /** What would have been right: "at least 98,362,432 bytes". */
  expected?: string;
  /** File, line, tensor, option. */
  where?: string;
  /** What the user can do about it, as an imperative sentence without the full stop. */
  fix?: string;
}

function sentence({ found, expected, where, fix }: Fault): string {
  const head = expected === undefined ? found : `${found}, expected ${expected}`;
  const place = where === undefined ? head : `${where}: ${head}`;
  return fix === undefined ? `${place}.` : `${place}; ${fix}.`;
}

/** A stated failure: exit code 1, shown without a stack trace. */
export class LoamError extends Error {
  override readonly name: string = 'LoamError';
  readonly exitCode: number = 1;
  readonly fault: Fault;
  constructor(fault: Fault, options?: ErrorOptions) {
    super(sentence(fault), options);
    this.fault = fault;
  }
}

/** The same fault with a path that the user has never seen under a name that they know. */
export function underName(error: unknown, path: string, name: string): unknown {
  if (!(error instanceof LoamError)) return error;
  const fault = Object.fromEntries(
    Object.entries(error.fault).map(([key, text]) => [
      key,
      typeof text === 'string' ? text.replaceAll(path, name) : text,
    ]),
  ) as unknown as Fault;
  return new LoamError(fault, { cause: error });
}

/** A wrong flag or argument: exit code 2. */
export class UsageError extends LoamError {
  override readonly name = 'UsageError';
  override readonly exitCode = 2;
}

/** Something Loam knows of but does not do (an architecture, a tensor type). A selector may catch it and try another way. */
export class UnsupportedError extends LoamError {
  override readonly name = 'UnsupportedError';
}

/** Work ended early because its AbortSignal fired: exit code 130. */
export class StoppedError extends LoamError {
  override readonly name = 'StoppedError';
  override readonly exitCode = 130;
  constructor(found = 'stopped by the user') {
    super({ found });
  }
}

/** Throws StoppedError when the signal has fired; called between steps of long work. */
export function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new StoppedError();
}
