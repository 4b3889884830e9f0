import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Desk } from '../testing/cli.js';
import { jsonLines } from '../testing/runLoam.js';

/** What becomes of a command whose process dies, and of a process whose command does. */

const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;
const desk = new Desk();
const program = fileURLToPath(new URL('../../bin/loam.js', import.meta.url));

/** Code that the process that computes runs first; the one that waits does not. */
const within = (code: string): NodeJS.ProcessEnv => {
  const text = `if (process.argv[1].endsWith('commandWorker.js')) { ${code} }`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(text)}` };
};

describe('the process of a command', { skip }, () => {
  it('is a stated failure, whatever native code ends it by', async () => {
    for (const signal of ['SIGSEGV', 'SIGBUS', 'SIGABRT'] as const) {
      const env = within(`process.kill(process.pid, '${signal}'); await new Promise(() => {});`);
      const run = await desk.run(['data', 'list', '--json'], { env });
      assert.deepEqual([run.code, run.signal], [1, null], run.stderr);
      assert.match(run.stderr, new RegExp(`^loam data: the process of this command was ended by .* \\(${signal}\\)`));
      const [told] = jsonLines(run);
      assert.deepEqual([told!.type, told!.code, told!.exitCode], ['error', 'process-died', 1]);
    }
  });

  it('that somebody kills, or the system for want of memory, takes its command along when that is told', async () => {
    const env = within(`process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});`);
    const run = await desk.run(['data', 'list'], { env });
    assert.deepEqual([run.code, run.signal], [null, 'SIGKILL']);
    assert.match(run.stderr, /was ended by the system \(SIGKILL\); .*if memory is short/);
  });

  it('ends with its command, and hands on its exit code', async () => {
    assert.equal((await desk.run(['data', 'list', '--nothing'])).code, 2);
    const model = await desk.model('m.gguf');
    // It waits for its question; its number is the first that it prints.
    const env = within('console.log(process.pid);');
    const command = spawn(process.execPath, [program, 'chat', '--model', model], {
      env: { ...process.env, ...env, LOAM_HOME: desk.home },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const [pid] = await once(command.stdout.setEncoding('utf8'), 'data');
    assert.notEqual(Number(pid), command.pid);
    command.kill('SIGKILL');
    // Which comes when nobody holds the other end of the pipe: it would wait for ever.
    await once(command, 'close');
  });
});
