import { createContext, Script } from 'node:vm';

const script = new Script('run()');

/**
 * Runs a function for `milliseconds` at most: an expression out of a file may try for longer than the universe lasts.
 * @returns undefined where it took longer
 */
export function boundedRun<T>(run: () => T, milliseconds: number): T | undefined {
  try {
    return script.runInContext(createContext({ run }), { timeout: milliseconds }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined;
    throw error;
  }
}
