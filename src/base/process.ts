import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, setPriority } from 'node:os';
import { join, resolve } from 'node:path';
import { type Fault, LoamError, StoppedError, UsageError } from './errors.js';
import { packagePath } from './package.js';

/** This process: where its state lies, its version and priority, and errors on their way to another process. */

/** Folder of all state (models, runs, adapters): `LOAM_HOME`, or `~/.loam`. Read at each call so that tests can move it. */
export function loamHome(...parts: string[]): string {
  const root = process.env.LOAM_HOME ? resolve(process.env.LOAM_HOME) : join(homedir(), '.loam');
  return join(root, ...parts);
}

/** Loam's version, from its package.json. */
export const version: string = (JSON.parse(readFileSync(packagePath('package.json'), 'utf8')) as { version: string })
  .version;

/**
 * Lets other programs go first from now on: this process and the threads it has. On Linux priorities belong to threads, and later ones
 * inherit them. A system that refuses is no reason to fail.
 * @param nice 0 (as others) to 19 (when nothing else wants to run)
 */
export function lowerPriority(nice: number): void {
  let threads: number[] = [process.pid];
  try {
    threads = readdirSync('/proc/self/task').map(Number);
  } catch {
    // No such list here: priorities belong to processes.
  }
  for (const thread of threads) {
    try {
      setPriority(thread, nice);
    } catch {
      // It has ended, or may not be changed.
    }
  }
}

/**
 * Leaves this process's memory, and that of its later children, out of core dumps (core(5), coredump_filter). Linux only; takes a moment,
 * and needs no native library, so it is done before anything is read. `leaveNoCore` of the engine does more.
 */
export function dumpNoMemory(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0');
  } catch {
    // Not Linux, or not allowed.
  }
}

let parent: number | undefined;

/** The process that has started this one, if this one is of no use without it. */
export const dependsOn = (): number | undefined => parent;

/**
 * This process of ours works for the one that has started it, and ends at once when that does. Where native code computes and nothing of
 * JavaScript has its turn, the system sees to it (`dieWithParent` of the engine).
 */
export function endWithParent(): void {
  parent = process.ppid;
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
}

/** An error on its way to another process. */
export interface SentError {
  name: string;
  /** Of a stated failure. */
  fault?: Fault;
  /** Of a bug: where it happened. Its message may hold anything and is not sent. */
  frames?: string;
}

export function packError(error: unknown): SentError {
  if (error instanceof LoamError) return { name: error.name, fault: error.fault };
  return { name: error instanceof Error ? error.name : 'Error', frames: framesOf(error) };
}

/** A stated failure comes out as one of the same class; a subclass as LoamError of its name. */
export function unpackError({ name, fault, frames }: SentError): Error {
  if (!fault) {
    const error = new Error(`an unexpected ${name} in another process`);
    error.stack = `${error.message}\n${frames ?? ''}`;
    return error;
  }
  if (name === 'StoppedError') return new StoppedError(fault.found);
  if (name === 'UsageError') return new UsageError(fault);
  const error = new LoamError(fault);
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
