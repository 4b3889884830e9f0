import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { resultOf, runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import { Client, newHome, ServerProcess } from '../testing/server.js';

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

const skip = process.platform === 'linux' ? false : 'stands in for a program of Linux';

/** The arguments that a program in the place of the browser's opener gets. */
async function opened(name: string, env: NodeJS.ProcessEnv = {}) {
  const folder = scratchFolder();
  const log = join(folder, 'arguments');
  const script = `#!/bin/sh\nprintf '%s\\n' "$*" > '${log}.new'\nenv > '${log}.env'\nmv '${log}.new' '${log}'\n`;
  writeFileSync(join(folder, name), script, { mode: 0o755 });
  const home = newHome();
  const path = `${folder}${delimiter}${process.env.PATH}`;
  const more = { LOAM_PASSPHRASE: 'a secret of mine', HF_TOKEN: 'hf_mine', ...env, PATH: path };
  const server = await ServerProcess.start(home, more, ['--open']);
  while (!existsSync(log)) await new Promise((resolve) => setTimeout(resolve, 20));
  const pairing = readFileSync(join(home, 'server', 'pairing'), 'utf8').trim();
  return { home, server, pairing, given: readFileSync(log, 'utf8').trim(), env: readFileSync(`${log}.env`, 'utf8') };
}

it('--open shows other users of the device no secret: a file that only this user can read leads on', {
  skip,
}, async () => {
  const { server, home, pairing, given, env } = await opened('xdg-open');
  assert.ok(!given.includes(pairing) && !given.includes(server.client.token), given);
  assert.doesNotMatch(env, /a secret of mine|hf_mine/);
  const file = fileURLToPath(given);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.match(
    readFileSync(file, 'utf8'),
    new RegExp(`url=http://127\\.0\\.0\\.1:${server.client.port}/#token=${pairing}"`),
  );
  await server.end('SIGTERM');
  assert.ok(!existsSync(join(home, 'server', 'open.html')), 'nothing is left');
});

it('--open in Termux gives the browser a code that is good once', { skip }, async () => {
  const { server, pairing, given } = await opened('termux-open-url', { TERMUX_VERSION: '1' });
  assert.ok(!given.includes(pairing) && !given.includes(server.client.token), given);
  const code = /#code=([\w-]+)$/.exec(given)![1]!;
  const redeem = async (one: string) =>
    await server.client.raw(
      'POST',
      '/api/pairing',
      { 'content-type': 'application/json' },
      JSON.stringify({ code: one }),
    );
  assert.equal((await redeem(`${code.slice(1)}x`)).status, 401);
  assert.equal((await redeem(code)).json.pairing, pairing);
  assert.equal((await redeem(code)).status, 401);
  await server.end('SIGTERM');
});

it('the printed link leads to where the server listens, and commands find it there', { skip }, async () => {
  for (const host of ['127.0.0.2', 'localhost', '127.0.0.1']) {
    const home = newHome();
    const server = await ServerProcess.start(home, {}, ['--host', host]);
    const { origin, hash } = new URL(server.link);
    assert.match(hash, /^#token=[\w-]{32}$/);
    const page = await fetch(origin);
    assert.deepEqual([page.status, page.headers.get('content-type')], [200, 'text/html; charset=utf-8'], origin);
    const { keys } = resultOf(await runLoam(['keys', 'list', '--json'], { home }));
    assert.deepEqual(keys, []);
    await server.end('SIGTERM');
  }
});

it('--allow-host lets a name in, and the refusal of another one names the option', async () => {
  const server = await ServerProcess.start(newHome(), {}, ['--allow-host', 'laptop.local,loam.example:8443']);
  const { client } = server;
  const ask = async (host: string) =>
    await client.raw('GET', '/api/status', { host, authorization: `Bearer ${client.token}` });
  for (const host of [`laptop.local:${client.port}`, 'laptop.local', 'loam.example:8443']) {
    assert.equal((await ask(host)).status, 200, host);
  }
  const refused = await ask(`evil.example:${client.port}`);
  assert.equal(refused.status, 403);
  assert.match(refused.json.error.message, /loam serve --allow-host NAME/);
  await server.end('SIGTERM');
  const wrong = await runLoam(['serve', '--port', '0', '--allow-host', 'http://x/'], { home: newHome() });
  assert.equal(wrong.code, 2, wrong.stderr);
  assert.match(wrong.stderr, /--allow-host/);
});

it('--allow-origin lets an app in with a key, takes whole origins only, and none is let in without it', async () => {
  const home = newHome();
  const server = await ServerProcess.start(home, {}, ['--allow-origin', 'https://app.example, http://localhost:3000']);
  const { client } = server;
  const { key } = await client.ok('POST', '/api/keys', { name: 'app' });
  const ask = async (origin: string, token: string) =>
    await client.raw('GET', '/v1/models', { origin, authorization: `Bearer ${token}` });
  for (const origin of ['https://app.example', 'http://localhost:3000']) {
    const reply = await ask(origin, key);
    assert.deepEqual([reply.status, reply.headers['access-control-allow-origin']], [200, origin]);
    assert.equal((await ask(origin, client.token)).status, 403, 'the session of a page is no key');
  }
  const refused = await ask('https://other.example', key);
  assert.equal(refused.status, 403);
  assert.match(refused.json.error.message, /loam serve --allow-origin ORIGIN/);
  await server.end('SIGTERM');
  const wrong = [
    '*',
    'null',
    'app.example',
    'https://app.example/',
    'https://app.example:443',
    'https://*.example',
    'file://x',
  ];
  for (const origin of wrong) {
    const { code, stderr } = await runLoam(['serve', '--port', '0', '--allow-origin', origin], { home: newHome() });
    assert.deepEqual([code, /--allow-origin/.test(stderr)], [2, true], origin);
  }
});

it('another program in the place of the server learns nothing of the commands', async () => {
  const home = newHome();
  const server = await ServerProcess.start(home);
  const path = join(home, 'server', 'server.json');
  const info = JSON.parse(readFileSync(path, 'utf8')) as { port: number };
  const seen: string[] = [];
  const { createServer } = await import('node:http');
  const stranger = createServer((request, response) => {
    seen.push(`${request.url} ${JSON.stringify(request.headers)}`);
    response.end('{}');
  });
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
  const { port } = stranger.address() as { port: number };
  writeFileSync(path, JSON.stringify({ ...info, port }));
  const run = await runLoam(['jobs', 'list', '--json'], { home });
  assert.equal(run.code, 1);
  assert.match(run.stderr, /does not answer/);
  assert.equal(seen.length, 1);
  assert.doesNotMatch(seen[0]!, /authorization/i);
  assert.match(seen[0]!, /^\/api\/session\?nonce=/);
  stranger.close();
  assert.equal((await new Client(info.port, server.client.token).send('GET', '/api/status')).status, 200);
  await server.end('SIGTERM');
});
