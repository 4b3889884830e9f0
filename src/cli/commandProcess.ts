import { spawn } from 'node:child_process';
import { afterSilence, youngObjects } from '../base/child.js';
import { LoamError } from '../base/errors.js';
import { programPath } from '../base/package.js';
import { commandNames, withoutModels } from './commands.js';
import { main, report } from './main.js';
import { Output } from './output.js';

/**
 * Commands that compute with a model do so in a process of their own, and this one waits: whatever native code does there, in spite of
 * all checks and of the trial before (`model/proof.ts`), its death is a stated error here. Nothing is read or written on this side.
 */

const program = programPath('cli/commandWorker.js');

/** By these somebody stops a command: the first is passed on, the second ends it at once. */
const stops = ['SIGINT', 'SIGTERM'] as const;

/** How often the process of a command says that its turn has come, in milliseconds. */
export const beatMs = 10_000;
/** How long it may be silent before it is ended: the longest native calls that wait take a slow phone some minutes. */
const silentMs = 10 * 60_000;
/** The same when it has been asked to stop. */
const silentAskedMs = 3 * beatMs;

/** Runs one command line, in a process of its own where native code has to do with it. @returns the exit code, as of `main` */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const [name = ''] = args;
  if (!commandNames.includes(name) || withoutModels.includes(name) || args.includes('--help')) return await main(args);
  const how = await endOf(args);
  if (typeof how === 'number') return how;
  const code = report(died(how), new Output(args.includes('--json')), name);
  // Somebody killed it, or the system for want of memory: who looks at how this one ends is to see that.
  if (how === 'SIGKILL') process.kill(process.pid, how);
  return code;
}

/** The exit code of the command's process, or what ended it: a signal, or what Windows has in its place. */
async function endOf(args: readonly string[]): Promise<number | string> {
  const child = spawn(process.execPath, [youngObjects, ...process.execArgv, program, ...args], {
    // By the channel it learns of our end.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  let asked = 0;
  let isSilent = false;
  const endSilent = () => {
    isSilent = true;
    child.kill('SIGKILL');
  };
  const waits = [afterSilence(child, silentMs, endSilent)];
  const stop = (signal: NodeJS.Signals) => {
    if (asked === 0) waits.push(afterSilence(child, silentAskedMs, endSilent));
    // On Windows there is no other signal than the console's, which both get.
    if (++asked > 1) child.kill('SIGKILL');
    else if (process.platform !== 'win32') child.kill(signal);
  };
  for (const signal of stops) process.on(signal, stop);
  try {
    return await new Promise((resolve) => {
      child.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.name));
      child.once('exit', (code, signal) => {
        if (signal !== null) resolve(asked > 0 ? 130 : isSilent ? tooLong : signal);
        else resolve(code! < 256 ? code! : `exit code ${code}`);
      });
    });
  } finally {
    for (const signal of stops) process.off(signal, stop);
    for (const end of waits) end();
  }
}

/** What ended it, where we did. */
const tooLong = 'silent';

const died = (how: string): LoamError =>
  new LoamError({
    code: 'process-died',
    found:
      how === tooLong
        ? `this command did not come to the end of one computation in ${silentMs / 60_000} minutes, and was ended`
        : `the process of this command was ended by the system (${how})`,
    fix: `run it again, ${how === tooLong ? 'with a shorter text or another model' : 'with other programs closed if memory is short'}; with LOAM_NATIVE_LOG=1 it says more`,
  });
