import assert from 'node:assert/strict';
import { it } from 'node:test';
import { newHome, ServerProcess } from '../testing/server.js';

it('a server lives through what nothing has caught, through readers that go, and says what it was', async () => {
  // In the server's own process, whatever is at work there.
  const hook = `
    const at = { count: 0 };
    const text = ['un', 'watched'].join('');
    setInterval(() => {
      if (process.listenerCount('uncaughtException') === 0) return;
      if (++at.count === 1) Promise.reject(new RangeError(text));
      if (at.count === 2) setImmediate(() => { throw new TypeError(text); });
      if (at.count === 3) process.stderr.emit('error', Object.assign(new Error(text), { code: 'ENOSPC' }));
    }, 50).unref();`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
  const server = await ServerProcess.start(newHome(), env);
  while (!/unexpected RangeError[\s\S]*unexpected TypeError/.test(server.output()))
    await server.client.ok('GET', '/api/status');
  assert.match(server.output(), /an unexpected RangeError, which is a bug in Loam/);
  assert.doesNotMatch(server.output(), /unwatched/, 'a message may hold anything');
  server.child.stdout!.destroy();
  server.child.stderr!.destroy();
  await server.client.ok('GET', '/api/status');
  assert.equal(server.child.exitCode, null);
  await server.end('SIGTERM');
  assert.equal(server.child.exitCode, 0);
});
