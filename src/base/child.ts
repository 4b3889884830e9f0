import { type ChildProcess, spawn } from 'node:child_process';

/**
 * Programs of our own in short-lived processes that may die: what is foreign is tried there. They get the variables that Node and the
 * native libraries need, and nothing else of this process; what they print is lost, but for the native log where that is asked for.
 */

/** Where programs and libraries are, the language, temporary files; how Loam's native libraries are found and used. */
const handedOn =
  /^(PATH|PREFIX|HOME|TMPDIR|TEMP|TMP|SYSTEMROOT|LANG|LC_.*|LD_LIBRARY_PATH|DYLD_.*|LOAM_(GGML_DIR|GPU|NATIVE_LOG|THREADS)|GGML_.*)$/i;

/** @param flags of Node */
export function startChild(program: string, flags: readonly string[] = []): ChildProcess {
  return spawn(process.execPath, [...flags, program], {
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => handedOn.test(name))),
    // Ctrl-C in the terminal is its parent's affair: on Linux and macOS it would reach the whole group.
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'ignore', process.env.LOAM_NATIVE_LOG ? 'inherit' : 'ignore', 'ipc'],
    serialization: 'advanced',
  });
}

/** How often a limit of time is looked at. */
const TICK_MS = 50;

/**
 * Calls `onPassed` when this process has been awake for so many milliseconds: one that was frozen, or a device that slept, finds on waking
 * that its child may have answered in time.
 * @returns a function that ends the wait
 */
export function afterAwake(ms: number, onPassed: () => void): () => void {
  let left = Math.ceil(ms / TICK_MS);
  const timer = setInterval(() => {
    if (--left > 0) return;
    clearInterval(timer);
    onPassed();
  }, TICK_MS);
  return () => clearInterval(timer);
}
