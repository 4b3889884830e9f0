import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterWork, askChild } from '../base/child.js';
import { StoppedError } from '../base/errors.js';
import { ifPresent, readText, writeFileAtomic } from '../base/io.js';
import { loamHome, version } from '../base/process.js';
import { locateLibraries } from '../engine/locate.js';

/**
 * Trials of files in a process of its own, with a time limit. What one came to is kept in `LOAM_HOME/proven` by the files' size, times and
 * inode, Loam's version and the libraries, so that it is paid once for each file.
 */

/** Results that are kept. */
const most = 1000;
/** Bytes of one; of a model with the most layers that are allowed a survey has less. */
const mostBytes = 4 << 20;

/** Those of this process, for a folder that cannot be written. */
const known = new Map<string, string>();

export interface TrialOptions {
  /** Instead of LOAM_HOME. */
  home?: string;
  signal?: AbortSignal;
}

/** A file that was exchanged meanwhile is not the one that was tried, nor are other libraries those that tried it. */
async function keyOf(paths: readonly string[], what: string): Promise<string> {
  const parts: unknown[] = [version, what];
  const { base, ggml, llama } = locateLibraries();
  for (const path of [base, ggml, llama, ...paths]) {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    parts.push(dev, ino, size, mtimeNs, ctimeNs);
  }
  return sha256(parts.join('\n'));
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** A result of its own file, which nothing has damaged. */
async function keptAt(folder: string, key: string): Promise<string | undefined> {
  const held = known.get(join(folder, key));
  if (held !== undefined) return held;
  const text = await ifPresent(readText(join(folder, key), mostBytes)).catch(() => undefined);
  const sum = text?.slice(0, 64);
  return sum !== undefined && sum === sha256(text!.slice(64)) ? text!.slice(64) : undefined;
}

async function keep(folder: string, key: string, result: string): Promise<void> {
  known.set(join(folder, key), result);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const names = await readdir(folder);
    if (names.length >= most) await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
    await writeFileAtomic(join(folder, key), sha256(result) + result);
  } catch {
    // Nothing can be written there: the next command tries the file again.
  }
}

/** What is kept of a trial. @param what names the trial, and all that decides its result beside the files */
export async function keptTrial(
  paths: readonly string[],
  what: string,
  { home = loamHome() }: TrialOptions,
): Promise<string | undefined> {
  return await keptAt(join(home, 'proven'), await keyOf(paths, what));
}

/** The result of a trial that is made where none is kept, and kept. */
export async function tryOnce(
  paths: readonly string[],
  what: string,
  { home = loamHome() }: TrialOptions,
  trial: () => Promise<string>,
): Promise<string> {
  const folder = join(home, 'proven');
  const key = await keyOf(paths, what);
  const kept = await keptAt(folder, key);
  if (kept !== undefined) return kept;
  const result = await trial();
  if ((await keyOf(paths, what)) === key) await keep(folder, key, result);
  return result;
}

/** Milliseconds for starting. */
const startMs = 30_000;
/** How many times as long all limits are: for processors that are emulated. */
const patience = Math.max(1, Number(process.env.LOAM_PATIENCE) || 1);

interface Tried<Report, Answer> {
  /** @param limit gives the process so many milliseconds from now on. @returns undefined while more reports are to come */
  answerOf: (report: Report, limit: (ms: number) => void) => Answer | undefined;
  /** @param how it ended, after "the process": "took too long and was ended" */
  died: (how: string) => Error;
  signal?: AbortSignal;
}

/** `askChild` with a limit of what is computed, which reports renew. @throws StoppedError, what `died` gives */
export async function askInTime<Report, Answer>(
  program: string,
  request: object,
  { answerOf, died, signal }: Tried<Report, Answer>,
): Promise<Answer> {
  const late = new AbortController();
  let endWait = () => {};
  let limit = (_ms: number) => {};
  try {
    return await askChild(program, request, {
      answerOf: (report: Report) => answerOf(report, limit),
      died,
      onStart: (child) => {
        limit = (ms) => {
          endWait();
          endWait = afterWork(child, patience * ms, () => late.abort());
        };
        limit(startMs);
      },
      signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
    });
  } catch (error) {
    const isLate = error instanceof StoppedError && !signal?.aborted;
    throw isLate ? died('took too long and was ended') : error;
  } finally {
    endWait();
  }
}
