import { createInterface } from 'node:readline/promises';
import { StoppedError, UsageError } from '../util/errors.js';

/**
 * Asks on the terminal before something is destroyed; `yes` (the flag --yes) answers for scripts.
 * @throws UsageError where there is no terminal to ask, StoppedError where the answer is another one
 */
export async function confirm(question: string, expected: string, yes: boolean, signal: AbortSignal): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError({ found: 'no terminal to ask on', expected: '--yes' });
  }
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await reader.question(`${question} (type ${expected}) `, { signal });
    if (answer.trim() !== expected) throw new StoppedError('nothing was deleted');
  } catch (error) {
    throw error instanceof StoppedError ? error : new StoppedError();
  } finally {
    reader.close();
  }
}
