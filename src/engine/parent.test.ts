import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';

/** A program of ours in which native code never returns, or a loop that does not. */
const within = (path: string) => new URL(path, import.meta.url).href;
const child = `
  import { endWithParent } from '${within('../base/process.js')}';
  import { dieWithParent } from '${within('./parent.js')}';
  endWithParent();
  dieWithParent();
  process.send(process.pid, () => { for (;;); });`;
const parent = `
  import { spawn } from 'node:child_process';
  const child = spawn(process.execPath, ['--input-type=module', '-e', ${JSON.stringify(child)}], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  child.on('message', (pid) => console.log(pid));`;

it('a process that computes for another ends with it, whatever keeps it busy', {
  skip: process.platform !== 'linux' && 'a signal of Linux',
}, async () => {
  const run = spawn(process.execPath, ['--input-type=module', '-e', parent], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [pid] = await once(run.stdout.setEncoding('utf8'), 'data');
  assert.notEqual(Number(pid), run.pid);
  run.kill('SIGKILL');
  // Which comes when nobody holds the other end of the pipe: it would wait for ever.
  await once(run, 'close');
});
