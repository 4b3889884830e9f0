import { readMemory } from '../memory.js';
import { type Device, emptyDesk } from './Device.js';
import { LinuxDevice } from './linux.js';
import { MacDevice } from './mac.js';
import { placeOf } from './place.js';
import { findProgram } from './programs.js';
import { SimulatedDevice } from './simulated.js';
import { TermuxDevice } from './termux.js';

let known: { device: Device; simulated: string | undefined } | undefined;

/** The device that this process runs on. LOAM_DEVICE names the file of a simulated one. */
export function thisDevice(): Device {
  const simulated = process.env.LOAM_DEVICE;
  if (known?.simulated !== simulated) known = undefined;
  known ??= { device: choose(simulated), simulated };
  return known.device;
}

function choose(simulated: string | undefined): Device {
  if (simulated) return new SimulatedDevice(simulated);
  if (isTermux()) return new TermuxDevice();
  if (process.platform === 'linux') return new LinuxDevice();
  if (process.platform === 'darwin') return new MacDevice();
  return {
    name: process.platform,
    mobile: false,
    read: async () => ({ at: new Date(), freeMemory: readMemory().available }),
    place: placeOf,
    android: async () => undefined,
    keepAwake: async () => undefined,
    desk: emptyDesk,
  };
}

/** Whether Termux is around this process: it may be in a Linux of its own there (proot), whose Node knows nothing of Android. */
export function isTermux(): boolean {
  return (
    process.platform === 'android' ||
    process.env.TERMUX_VERSION !== undefined ||
    findProgram('termux-wake-lock') !== undefined
  );
}

/** Whether this process is Termux's own, so that files and programs have the paths that Termux and its add-ons know. */
export function isTermuxItself(): boolean {
  return (
    process.platform === 'android' || (process.env.TERMUX_VERSION !== undefined && process.env.PREFIX !== undefined)
  );
}
