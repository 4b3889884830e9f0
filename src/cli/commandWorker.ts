import { endWithParent } from '../base/process.js';
import { beatMs } from './commandProcess.js';
import { begin, main } from './main.js';

/** The process of a command that computes with a model (`commandProcess.ts`). */

// Nobody waits for it any more, and a run that went on alone would hold its folder.
endWithParent();
// That no native call holds everything up; a channel that has just closed is told by its end.
setInterval(() => process.connected && process.send!('beat', () => {}), beatMs).unref();
// A signal may come twice, from the terminal and from the process that waits, which counts them.
await begin((args) => main(args, { patient: true }));
