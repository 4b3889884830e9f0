import { dependsOn } from '../base/process.js';
import { fn, int, systemFunction } from './ffi.js';

/** linux/prctl.h, and the signal that nothing holds up. */
const [PR_SET_PDEATHSIG, SIGKILL] = [1, 9];

/**
 * From now on the system ends this process with its parent, if it said that it is of no use without (`endWithParent`): by itself it would
 * not learn of that before native code returns, which of a foreign file may be never. Linux and Android only.
 */
export function dieWithParent(): void {
  const parent = dependsOn();
  if (parent === undefined || process.platform === 'win32' || process.platform === 'darwin') return;
  systemFunction(fn('prctl', int, [int, int]))?.(PR_SET_PDEATHSIG, SIGKILL);
  // Whose parent ended just before gets no signal.
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}
