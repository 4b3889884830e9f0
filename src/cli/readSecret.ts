import { StoppedError } from '../util/errors.js';

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
