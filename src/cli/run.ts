import { runCommandLine } from './commandProcess.js';
import { begin } from './main.js';

/** Started by bin/loam.js. */

await begin(runCommandLine);
