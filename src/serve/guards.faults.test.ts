import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { Client, newHome, page, ServerProcess } from '../testing/server.js';
import { Access } from './http/access.js';
import { HttpServer, staticRoute } from './http/HttpServer.js';
import type { AnyRoute } from './http/route.js';
import type { Services } from './Services.js';
import { apiRoutes } from './startServer.js';

/**
 * Campaign 17: every route with every kind of host, origin, secret and type is refused before its handler runs and before its body comes;
 * connections and bodies that are made to hurt leave the owner served, and the memory within bounds.
 */

const seed = 17;

it('whoever may not use a route does not reach its handler, whatever is right about the rest', async (t) => {
  const home = scratchFolder();
  const old = (await Access.open(home)).session();
  const access = await Access.open(home);
  const chat = await access.keys.add({ name: 'chat' });
  const work = await access.keys.add({ name: 'work', scope: 'work' });
  const revoked = await access.keys.add({ name: 'revoked', scope: 'work' });
  await access.keys.revoke(revoked.id);
  let reached = 0;
  const real: AnyRoute<Services>[] = [...apiRoutes, staticRoute<Services>(page)];
  const routes = real.map((route) => ({
    ...route,
    handler: async () => {
      reached++;
      return {};
    },
  }));
  const server = new HttpServer<Services>({
    routes,
    context: {} as Services,
    access,
    hosts: { names: ['127.0.0.1', 'localhost', '[::1]'], allowed: ['proxy.example', 'other.example:8443'] },
  });
  const { port } = await server.listen(0);
  after(() => server[Symbol.asyncDispose]());
  const client = new Client(port, '');

  const hosts: [string, boolean][] = [
    [`127.0.0.1:${port}`, true],
    [`LOCALHOST:${port}`, true],
    [`[::1]:${port}`, true],
    ['proxy.example', true],
    ['other.example:8443', true],
    ['other.example', false],
    [`other.example:${port}`, false],
    ['127.0.0.1', false],
    [`127.0.0.2:${port}`, false],
    [`0.0.0.0:${port}`, false],
    [`evil.example:${port}`, false],
    [`127.0.0.1.evil.example:${port}`, false],
    [`127.0.0.1:${port}@evil.example`, false],
    [`127.0.0.1:0${port}`, false],
    [`2130706433:${port}`, false],
  ];
  const origins: [string | undefined, boolean][] = [
    [undefined, true],
    [`http://127.0.0.1:${port}`, true],
    ['https://proxy.example', true],
    [`https://127.0.0.1:${port}`, false],
    ['http://other.example', false],
    ['null', false],
    [`http://127.0.0.1:${port}.evil.example`, false],
    [`http://127.0.0.1:${port}/`, false],
    ['chrome-extension://abc', false],
  ];
  const sites: [Record<string, string>, boolean][] = [
    [{}, true],
    [{ 'sec-fetch-site': 'same-origin' }, true],
    [{ 'sec-fetch-site': 'none' }, true],
    [{ 'sec-fetch-site': 'cross-site' }, false],
    [{ 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }, false],
  ];
  type Who = 'owner' | 'chat' | 'work' | undefined;
  const secrets: [string | undefined, Who][] = [
    [`Bearer ${access.session()}`, 'owner'],
    [`bearer  ${access.session()}`, 'owner'],
    [`Bearer ${chat.key}`, 'chat'],
    [`Bearer ${work.key}`, 'work'],
    [undefined, undefined],
    ['', undefined],
    [`Bearer ${old}`, undefined],
    [`Bearer ${revoked.key}`, undefined],
    [`Bearer ${access.pairing}`, undefined],
    [`Bearer ${access.session()}0`, undefined],
    [`Bearer ${access.session().replace(/\d{10}/, '9999999999')}`, undefined],
    [`Bearer loam-session.99999999999.${'0'.repeat(64)}`, undefined],
    [`Bearer ${work.key.toLowerCase()}`, undefined],
    [`Basic ${access.session()}`, undefined],
    [`Basic ${Buffer.from(`:${work.key}`).toString('base64')}`, undefined],
  ];
  const types = [
    undefined,
    'application/json',
    'application/json; charset=utf-8',
    'application/octet-stream',
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
  ];
  const random = new Random(seed);
  const any = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  /** Right more often than not, so that one wrong thing alone is tried. */
  const mostly = <T>(list: readonly [T, unknown][]): [T, unknown] =>
    random.uniform() < 0.7 ? any(list.filter(([, right]) => right)) : any(list);

  let tried = 0;
  for (const route of real) {
    const path = route.path.replace('/{file...}', '/').replace(/\{\w+\}/g, 'x');
    const required = (route.query?.required as string[] | undefined) ?? [];
    const address =
      required.length > 0 ? `${path}?${required.map((name) => `${name}=${'x'.repeat(16)}`).join('&')}` : path;
    for (let n = 0; n < rounds(12, 250); n++) {
      const [host, rightHost] = mostly(hosts);
      const [origin, rightOrigin] = mostly(origins);
      const [site, rightSite] = mostly(sites);
      const [authorization, who] = mostly(secrets) as [string | undefined, Who];
      const type = any(types);
      const encoding = random.uniform() < 0.1 ? 'gzip' : undefined;
      // A body that is announced and never comes: whoever is refused is refused without it.
      const withheld = random.uniform() < 0.3;
      const accepts = [
        ...(route.bytesLimit === undefined ? [] : ['application/octet-stream']),
        ...(route.body !== undefined || route.bytesLimit === undefined ? ['application/json'] : []),
      ];
      const isNone = type === undefined && !withheld && route.body === undefined && route.bytesLimit === undefined;
      const rightType =
        encoding === undefined && (isNone || (type !== undefined && accepts.includes(type.split(';')[0]!)));
      const may =
        route.open || who === 'owner' || (who === 'work' && route.keys) || (who === 'chat' && route.keys === 'chat');
      const expected = !rightHost || !rightOrigin || !rightSite ? 403 : !may ? (who ? 403 : 401) : !rightType ? 415 : 0;
      // Where nothing is wrong the body is waited for; that is for other tests.
      if (expected === 0 && (withheld || route.body !== undefined || route.bytesLimit !== undefined)) continue;
      const headers: Record<string, string> = {
        host,
        ...site,
        ...(origin !== undefined && { origin }),
        ...(authorization !== undefined && { authorization }),
        ...(type !== undefined && { 'content-type': type }),
        ...(encoding !== undefined && { 'content-encoding': encoding }),
      };
      const before = reached;
      const status = withheld
        ? await withoutBody(port, `${route.method} ${address}`, headers)
        : (await client.raw(route.method, address, headers)).status;
      const said = `${route.method} ${address} ${JSON.stringify(headers)}`;
      assert.equal(status, expected || 200, said);
      assert.equal(reached, before + (expected === 0 ? 1 : 0), said);
      tried++;
    }
  }
  t.diagnostic(`campaign 17, who may do what: tried ${tried}, survived ${tried}`);
});

/** The status that a request gets whose body is announced and does not come. */
async function withoutBody(port: number, line: string, headers: Record<string, string>): Promise<number> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  const lines = Object.entries({ ...headers, 'content-length': '1000000' }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.write(`${line} HTTP/1.1\r\n${lines.join('')}\r\n`);
  let text = '';
  for await (const piece of socket) {
    text += String(piece);
    if (text.includes('\r\n')) break;
  }
  socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
}

const onLinux = process.platform === 'linux' ? false : 'reads /proc';
const mebibyte = 1 << 20;
/** Milliseconds within which the owner is served; a test that others slow down waits for longer, and less than a timeout of the server. */
const patience = rounds(60_000, 1000);

/** Asks for the server's status until it is told to end, and tells how long that took at most, in ms. */
const OWNER = `
const [port, token] = process.argv.slice(1);
const [failed, headers] = [[], { authorization: 'Bearer ' + token, connection: 'close' }];
let [over, tried, worst] = [false, 0, 0];
process.on('message', () => { over = true; });
(async () => {
  while (!over) {
    const began = performance.now();
    const status = await new Promise((resolve) => {
      require('node:http').get({ host: '127.0.0.1', port, path: '/api/status', headers, agent: false }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode));
      }).on('error', (error) => resolve(error.code));
    });
    if (status !== 200) failed.push(String(status));
    worst = Math.max(worst, performance.now() - began);
    tried++;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  process.send({ tried, worst, failed: failed.slice(0, 5) }, () => process.exit(0));
})();
`;

it('silent connections, tiny chunks and bodies full of mistakes leave the owner served and the memory bounded', {
  skip: onLinux,
}, async (t) => {
  const server = await ServerProcess.start(newHome());
  const { client } = server;
  const { port } = client;
  const held = (what: 'VmRSS' | 'VmHWM') =>
    Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))![1]) * 1024;
  await client.ok('GET', '/api/status');
  const before = held('VmRSS');
  // The owner asks again and again from a process of its own: this one is busy with making trouble.
  const owner = spawn(process.execPath, ['-e', OWNER, String(port), client.token], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  t.after(() => owner.kill('SIGKILL'));

  const head = `Host: 127.0.0.1:${port}\r\n`;
  const bearer = `Authorization: Bearer ${client.token}\r\n`;
  const silent = [
    '',
    'G',
    `GET / HTTP/1.1\r\nHost: 127.0.0.1`,
    `POST /api/datasets?name=x HTTP/1.1\r\n${head}Content-Length: 1000000\r\n`,
    `POST /api/pairing HTTP/1.1\r\n${head}Content-Type: application/json\r\nContent-Length: 200\r\n\r\n{`,
    `GET / HTTP/1.1\r\n${head}\r\n`,
    `GET / HTTP/1.1\r\n${head}${'X-Filler: yyyyyyyyyyyyyyyyyyyy\r\n'.repeat(300)}`,
  ];
  const sockets = new Set<Socket>();
  let filling = true;
  let opened = 0;
  const fill = (): void => {
    if (!filling) return;
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume().on('connect', () => socket.write(silent[opened++ % silent.length]!));
    socket.on('close', () => {
      sockets.delete(socket);
      setImmediate(fill);
    });
  };
  t.after(() => {
    filling = false;
    for (const socket of sockets) socket.destroy();
  });
  for (let i = 0; i < rounds(300, 2000); i++) fill();
  await (async () => {
    while (opened < rounds(450, 20_000)) await sleep(20);
  })();
  filling = false;
  for (const socket of sockets) socket.destroy();

  // The owner's own streams count, too, and the newest live.
  const abort = new AbortController();
  for (let i = 0; i < rounds(80, 400); i++) {
    const headers = { authorization: `Bearer ${client.token}` };
    const stream = await fetch(`${client.base}/api/events`, { headers, signal: abort.signal });
    assert.equal(stream.status, 200);
    void stream.body!.pipeTo(new WritableStream()).catch(() => {});
  }
  await sleep(200);
  abort.abort();

  await (async () => {
    const type = 'Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n';
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.write(`POST /api/datasets?name=c HTTP/1.1\r\n${head}${bearer}${type}\r\n`);
    const block = Buffer.from('1\r\nx\r\n'.repeat(10_000));
    for (let i = 0; i < rounds(50, 500) && !socket.destroyed; i++) {
      if (!socket.write(block)) await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve));
    }
    socket.destroy();
  })();

  const size = rounds(4.5e6, 27e6);
  const list = (one: string) => `${`${one},`.repeat(size / (one.length + 1))}${one}`;
  const names = Array.from({ length: size / 12 }, (_, i) => `"n${i}":{}`).join(',');
  const bodies: [string, string, string | Buffer][] = [
    ['POST', '/api/datasets?name=a', `{"examples":[${list('{}')}]}`],
    ['POST', '/api/datasets?name=a', `{"examples":[${list('1')}]}`],
    ['POST', '/api/datasets?name=a', `{"examples":[${list('{"text":"ab"}')},{}]}`],
    ['POST', '/api/datasets?name=a', `{"examples":[{"messages":[${list('{}')}]}]}`],
    ['POST', '/api/datasets?name=a', `{"examples":[{"text":"a",${names}}]}`],
    ['POST', '/api/datasets?name=a', `{${names}}`],
    ['POST', '/api/datasets?name=a', `{"examples":${'['.repeat(size)}`],
    ['PATCH', '/api/datasets/x', `{"exclude":[${list('-1')}]}`],
    ['PATCH', '/api/datasets/x', `{"edit":[${list('{"index":0}')}]}`],
    ['POST', '/v1/chat/completions', `{"model":"x","messages":[${list('{}')}]}`.slice(0, 15e6)],
    ['POST', '/v1/chat/completions', `{"model":"x","messages":[],"more":[${list('{}')}]}`.slice(0, 15e6)],
    ['POST', '/api/datasets?name=a', Buffer.from('{}\n'.repeat(size / 3))],
    ['POST', '/api/datasets?name=a', Buffer.from(`{"text":"a b c"}\n${'{}\n'.repeat(rounds(50_000, size / 3))}`)],
  ];
  for (const [method, path, body] of bodies) {
    await (async () => {
      const bytes = typeof body !== 'string';
      const type = bytes ? 'application/octet-stream' : 'application/json';
      const headers = { authorization: bearer.trim().slice(15), 'content-type': type };
      const { status } = await client.raw(method, path, headers, body);
      assert.ok(bytes || (status >= 400 && status < 500), `${method} ${path} ${String(body).slice(0, 60)}: ${status}`);
    })();
  }
  owner.send('end');
  const [{ tried, worst, failed }] = (await once(owner, 'message')) as [
    { tried: number; worst: number; failed: string[] },
  ];
  assert.deepEqual(failed, []);
  assert.ok(tried > 20, `${tried} requests`);
  const grown = held('VmHWM') - before;
  assert.ok(worst < patience, `the owner waited for ${Math.round(worst)} ms`);
  assert.ok(grown < 256 * mebibyte, `${Math.round(grown / mebibyte)} MiB more`);
  assert.equal(server.child.exitCode, null);
  t.diagnostic(
    `campaign 17, floods: tried ${tried}, survived ${tried}; the owner served within ${Math.round(worst)} ms, ${Math.round(grown / mebibyte)} MiB more`,
  );
});
