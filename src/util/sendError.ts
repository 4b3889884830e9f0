import { type Fault, LoamError, StoppedError, UsageError } from './errors.js';

/** An error on its way to another process. */
export interface SentError {
  name: string;
  /** Of a stated failure. */
  fault?: Fault;
  /** Code of the system's error behind it, such as ENOSPC. */
  code?: string;
  /** Of a bug: where it happened. Its message may hold anything and is not sent. */
  frames?: string;
}

export function packError(error: unknown): SentError {
  if (error instanceof LoamError) {
    const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
    return { name: error.name, fault: error.fault, ...(code && { code: String(code) }) };
  }
  return { name: error instanceof Error ? error.name : 'Error', frames: framesOf(error) };
}

/** A stated failure comes out as one of the same class; a subclass as LoamError of its name. */
export function unpackError({ name, fault, code, frames }: SentError): Error {
  if (!fault) {
    const error = new Error(`an unexpected ${name} in another process`);
    error.stack = `${error.message}\n${frames ?? ''}`;
    return error;
  }
  const options = code === undefined ? undefined : { cause: Object.assign(new Error(code), { code }) };
  if (name === 'StoppedError') return new StoppedError(fault.found);
  if (name === 'UsageError') return new UsageError(fault, options);
  const error = new LoamError(fault, options);
  return name === 'LoamError' ? error : Object.defineProperty(error, 'name', { value: name });
}

/** The lines of a stack that say where, without the message above them. */
export function framesOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  return stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 12)
    .join('\n');
}
