import { createInterface } from 'node:readline/promises';
import { StoppedError, UsageError } from '../base/errors.js';
import { readText } from '../base/io.js';

/** What a person is asked for on the terminal, and what scripts give instead: a confirmation, a passphrase. */

/** @throws UsageError, which names what to give instead, if there is no terminal */
export function requireTerminal(instead: string): void {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError({ found: 'no terminal to ask on', expected: instead });
  }
}

/**
 * Asks on the terminal before something is destroyed; `yes` (the flag --yes) answers for scripts.
 * @throws UsageError if there is no terminal to ask on, StoppedError for any other answer
 */
export async function confirm(question: string, expected: string, yes: boolean, signal: AbortSignal): Promise<void> {
  if (yes) return;
  requireTerminal('--yes');
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

/** Longest secret; a terminal that sends without end is no person. */
const MAX_LENGTH = 1024;

/** Asks for a line on the terminal that is not shown while it is typed. Throws StoppedError on Ctrl-C and Ctrl-D. */
export async function readSecret(question: string, stdin = process.stdin, stderr = process.stderr): Promise<string> {
  // Before the question: whoever answers at once (a program) is not shown either.
  stdin.setRawMode(true);
  stderr.write(question);
  stdin.setEncoding('utf8');
  stdin.resume();
  let typed: string[] = [];
  let stop = () => {};
  try {
    return await new Promise<string>((resolve, reject) => {
      stop = () => reject(new StoppedError());
      process.on('SIGINT', stop);
      process.on('SIGTERM', stop);
      stdin.on('end', stop);
      stdin.on('data', (text: string) => {
        for (const character of text) {
          if (character === '\r' || character === '\n') return resolve(typed.join(''));
          if (character === '\x03' || character === '\x04') return reject(new StoppedError());
          if (character === '\x7f' || character === '\b') typed.pop();
          else if (character === '\x15') typed = [];
          else if (character >= ' ' && typed.length < MAX_LENGTH) typed.push(character);
        }
      });
    });
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    stdin.removeAllListeners('data');
    stdin.removeAllListeners('end');
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

/** A passphrase file is one line; anything longer is another file, given by mistake. */
const MAX_FILE_BYTES = 4096;

/** The first line of a file with a passphrase. Throws LoamError. */
export async function readPassphraseFile(path: string): Promise<string> {
  const [line = ''] = (await readText(path, MAX_FILE_BYTES)).split(/\r?\n/);
  if (line === '') throw new UsageError({ found: 'an empty first line', expected: 'the passphrase', where: path });
  return line;
}
