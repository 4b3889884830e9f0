import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Runs the real command line, bin/loam.js, in a child process, as scripts do. */

const program = fileURLToPath(new URL('../../bin/loam.js', import.meta.url));

export interface LoamRun {
  /** Exit code; null when a signal ended the process. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Milliseconds from the signal that `stopWhen` sent to the end of the process. */
  stoppedAfter?: number;
}

export interface LoamOptions {
  /** LOAM_HOME. */
  home: string;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** What stands on standard input; 'closed' gives none at all, 'endless' a megabyte and then silence. Default: empty. */
  stdin?: string | 'closed' | 'endless';
  /** Sends `signal` as soon as the output so far satisfies `when`; also asked once an endless standard input is being read. */
  stopWhen?: { signal: NodeJS.Signals; when: (stdout: string, stderr: string) => boolean };
  /** Closes the reading end of stdout after its first bytes. */
  closeStdout?: boolean;
  onStdout?: (text: string) => void;
  /** Milliseconds after which the child is killed, so that a hanging one fails its test only. */
  limit?: number;
}

export async function runLoam(args: readonly string[], options: LoamOptions): Promise<LoamRun> {
  const { stdin = '', limit = 120_000 } = options;
  const child = spawn(process.execPath, [program, ...args], {
    cwd: options.cwd,
    // No test reaches the network by accident: port 9 (discard) refuses.
    env: { ...process.env, HF_ENDPOINT: 'http://127.0.0.1:9', ...options.env, LOAM_HOME: options.home },
    stdio: [stdin === 'closed' ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const run: LoamRun = { code: null, signal: null, stdout: '', stderr: '' };
  let sent: number | undefined;
  const look = () => {
    if (sent !== undefined || !options.stopWhen?.when(run.stdout, run.stderr)) return;
    sent = performance.now();
    child.kill(options.stopWhen.signal);
  };
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    run.stdout += text;
    options.onStdout?.(text);
    if (options.closeStdout) child.stdout!.destroy();
    look();
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    run.stderr += text;
    look();
  });
  // A child that ends without reading it closes the pipe.
  child.stdin?.on('error', () => {}).on('drain', look);
  // More than a pipe holds: it drains when the child reads.
  if (stdin === 'endless') child.stdin!.write('word '.repeat(200_000));
  else child.stdin?.end(stdin);
  const killer = setTimeout(() => child.kill('SIGKILL'), limit);
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        run.code = code;
        run.signal = signal;
        resolve();
      });
    });
  } finally {
    clearTimeout(killer);
  }
  if (sent !== undefined) run.stoppedAfter = performance.now() - sent;
  return run;
}

export type JsonLine = Record<string, unknown> & { type: string };

/** The lines of stdout under --json, each checked to be an object with a type. */
export function jsonLines(run: LoamRun): JsonLine[] {
  assert.ok(run.stdout === '' || run.stdout.endsWith('\n'), 'the last line is complete');
  return run.stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const value = JSON.parse(line) as JsonLine;
      assert.equal(typeof value, 'object');
      assert.equal(typeof value.type, 'string', line);
      return value;
    });
}

/** The result of a run that must have succeeded: its last line, and the only one of that type. */
export function resultOf(run: LoamRun): JsonLine {
  assert.equal(run.code, 0, run.stderr);
  const lines = jsonLines(run);
  const result = lines.at(-1)!;
  assert.equal(result?.type, 'result');
  assert.equal(lines.filter(({ type }) => type === 'result').length, 1);
  return result;
}
