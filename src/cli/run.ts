import { dumpNoMemory } from '../base/process.js';
import { main } from './main.js';

/** Started by bin/loam.js. */

dumpNoMemory();
// A reader that closes early (`loam ... | head`) is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
}
process.exitCode = await main(process.argv.slice(2));
// Where pipes are written in the background (Windows), what is on its way must arrive first.
await Promise.all([process.stdout, process.stderr].map((s) => new Promise<void>((done) => s.write('', () => done()))));
// The engine keeps worker threads; nothing of ours is left to do.
process.exit();
