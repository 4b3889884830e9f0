import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from '../base/lock.js';

/**
 * A process that takes a lock again and again, for the campaign on locks: LOCK NAME. While it owns the lock it listens under a
 * name (unix(7), abstract), which Linux gives to one process at a time, frozen or not, and takes back when that dies: whoever finds it
 * taken is a second owner.
 */

const [, , path, name] = process.argv;
const tell = (what: string) => process.stdout.write(`${what}\n`);

for (;;) {
  const lock = await tryLock(path!);
  if ('heldBy' in lock) {
    await sleep(10);
    continue;
  }
  const server = createServer();
  const owns = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(`\0${name}`, () => resolve(true));
  });
  tell(owns ? 'owns' : 'SECOND');
  await sleep(Math.random() * 60);
  await new Promise((resolve) => server.close(resolve));
  await lock.release();
  await sleep(Math.random() * 10);
}
