import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { environmentOf } from '../child.js';

/** The system's own programs: where they are, what they answer, and those that are left running. */

/** Characters of an answer. */
const MOST = 1 << 20;
/** Milliseconds for an answer: Termux:API takes a second on a slow phone, and never answers where its app is missing. */
const PATIENCE_MS = 8_000;

/** Where Termux has its programs: not on the path within proot, where they run all the same. */
const termuxFolder = '/data/data/com.termux/files/usr/bin';

/** The path of a program that may be run; undefined if there is none. */
export function findProgram(name: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), termuxFolder]) {
    if (folder === '') continue;
    try {
      const path = join(folder, name);
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  return undefined;
}

/** What a program prints; undefined if it is not there, fails, or does not answer in time: then it is ended with what it has started. */
export async function askProgram(
  name: string,
  args: readonly string[] = [],
  { input, ms = PATIENCE_MS }: { input?: string; ms?: number } = {},
): Promise<string | undefined> {
  const path = findProgram(name);
  if (path === undefined) return undefined;
  return await new Promise((resolve) => {
    const child = start(path, args, input === undefined ? 'ignore' : 'pipe');
    let text = '';
    const timer = setTimeout(() => end(child), ms);
    child.stdout!.setEncoding('utf8').on('data', (piece: string) => {
      if (text.length < MOST) text += piece;
    });
    child.once('error', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve(code === 0 ? text : undefined);
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** Whether a program has done what it was asked for. */
export async function tellProgram(name: string, args: readonly string[] = [], input?: string): Promise<boolean> {
  return (await askProgram(name, args, { input })) !== undefined;
}

/** Leaves a program running until it is disposed of; undefined if it is not there. */
export function keepProgram(name: string, args: readonly string[]): AsyncDisposable | undefined {
  const path = findProgram(name);
  if (path === undefined) return undefined;
  const child = start(path, args, 'ignore');
  child.on('error', () => {});
  child.unref();
  return { [Symbol.asyncDispose]: async () => end(child) };
}

/** In a group of its own, so that what a script has started ends with it. */
function start(path: string, args: readonly string[], stdin: 'ignore' | 'pipe'): ChildProcess {
  return spawn(path, args, {
    env: environmentOf('desktop', { LC_ALL: 'C' }),
    detached: process.platform !== 'win32',
    stdio: [stdin, 'pipe', 'ignore'],
  });
}

function end(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}
