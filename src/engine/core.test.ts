import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';

it('a process that holds private text leaves no core, and its children neither', {
  skip: process.platform !== 'linux' && 'asks /proc',
}, () => {
  const core = new URL('./core.js', import.meta.url).href;
  const told = "echo $(grep 'core file' /proc/self/limits) $(cat /proc/self/coredump_filter)";
  const program = `
    import { spawnSync } from 'node:child_process';
    import { leaveNoCore } from '${core}';
    leaveNoCore();
    process.stdout.write(spawnSync('sh', ['-c', ${JSON.stringify(told)}], { encoding: 'utf8' }).stdout);`;
  const run = 'ulimit -c unlimited; exec "$@"';
  const args = ['-c', run, 'sh', process.execPath, '--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync('sh', args, { encoding: 'utf8' });
  assert.match(stdout, /^Max core file size 0 0 bytes 0+\n$/, stderr);
});
