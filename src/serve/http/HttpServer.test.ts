import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { after, describe, it } from 'node:test';
import Type from 'typebox';
import { LoamError, UsageError } from '../../base/errors.js';
import { scratchFolder } from '../../testing/scratch.js';
import { Client, readEvents } from '../../testing/server.js';
import { Access } from './access.js';
import { EventChannel } from './events.js';
import { HttpServer, staticRoute } from './HttpServer.js';
import { Answer, routesOf } from './route.js';

/** Bodies, limits and streams, on a small list of routes. */

const route = routesOf<null>();
const secret = 'words of the user';
const channel = new EventChannel<{ type: 'n'; n: number }>();
const bugs: unknown[] = [];
let uploads = 0;
let streams = 0;

const routes = [
  route({
    method: 'POST',
    path: '/api/echo/{name}',
    summary: '',
    query: Type.Object({
      times: Type.Optional(Type.Integer({ minimum: 1, maximum: 9 })),
      loud: Type.Optional(Type.Boolean()),
    }),
    body: Type.Object(
      { text: Type.String({ maxLength: 20 }), more: Type.Optional(Type.Unknown()) },
      { additionalProperties: false },
    ),
    response: Type.Object({}),
    handler: async ({ params, query, body }) => ({
      ...params,
      query,
      body,
      proto: ({} as { polluted?: unknown }).polluted ?? null,
    }),
  }),
  route({
    method: 'POST',
    path: '/api/upload',
    summary: '',
    bytesLimit: 1 << 20,
    response: Type.Object({}),
    handler: async ({ bytes }) => {
      uploads++;
      return { bytes: bytes!.length };
    },
  }),
  route({
    method: 'GET',
    path: '/api/fail/{how}',
    summary: '',
    response: Type.Object({}),
    handler: async ({ params }) => {
      if (params.how === 'bug') throw new TypeError(`cannot read ${secret}`);
      if (params.how === 'full') throw new LoamError({ code: 'disk-full', found: 'the disk is full' });
      if (params.how === 'usage')
        throw new UsageError({ found: 'a wrong value', where: 'options, rank', fix: 'use another' });
      throw new LoamError({ code: 'failed', found: 'the data is bad', expected: 'good data' });
    },
  }),
  route({
    method: 'GET',
    path: '/api/numbers',
    summary: '',
    response: { events: Type.Object({}) },
    handler: async ({ headers, signal }) =>
      Answer.events(channel.listen(headers['last-event-id'] as string | undefined, signal)),
  }),
  route({
    method: 'GET',
    path: '/api/endless',
    summary: '',
    response: { events: Type.Object({}) },
    handler: async () => {
      async function* endless() {
        streams++;
        try {
          for (let n = 1; ; n++) {
            yield { id: String(n), data: { type: 'n', text: 'x'.repeat(10_000) } };
            await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          streams--;
        }
      }
      return Answer.events(endless());
    },
  }),
  staticRoute<null>({
    files: new Map([
      [
        '/',
        {
          body: Buffer.from('plain'),
          gzip: Buffer.from('packed'),
          type: 'text/html',
          etag: '"v1"',
          cacheControl: 'no-cache',
        },
      ],
    ]),
    contentSecurityPolicy: "default-src 'self'",
  }),
];
const access = await Access.open(scratchFolder());
const server = new HttpServer<null>({
  routes,
  context: null,
  access,
  hosts: { names: ['127.0.0.1'] },
  onBug: (bug) => bugs.push(bug),
});
const client = new Client((await server.listen(0)).port, access.session());
after(() => server[Symbol.asyncDispose]());
const bearer = { authorization: `Bearer ${client.token}` };
const json = { ...bearer, 'content-type': 'application/json' };
const until = async (when: () => boolean) => {
  while (!when()) await new Promise((resolve) => setTimeout(resolve, 5));
};

describe('a request', () => {
  it('reaches its handler with its parts as declared', async () => {
    const { json: value } = await client.raw('POST', '/api/echo/a%20b%2Fc?times=3&loud=true', json, '{"text":"hé"}');
    assert.deepEqual(value, { name: 'a b/c', query: { times: 3, loud: true }, body: { text: 'hé' }, proto: null });
  });

  const wrong: [string, string, string | Buffer, number, RegExp][] = [
    ['is no JSON', '', `{"text": ${secret}`, 400, /not valid JSON/],
    ['is no UTF-8', '', Buffer.from([0x22, 0xff, 0x22]), 400, /not valid JSON/],
    ['lacks a field', '', '{}', 400, /body must have required properties text/],
    ['has one too many', '', '{"text":"a","other":1}', 400, /additional properties: other/],
    ['has a wrong type', '', '{"text":1}', 400, /body\.text must be string/],
    ['is too long', '', `{"text":"${secret} ${secret}"}`, 400, /body\.text must not have more than 20/],
    ['has an unknown query', '?x=1', '{"text":"a"}', 400, /unknown parameter/],
    ['repeats a query', '?times=1&times=2', '{"text":"a"}', 400, /query\.times is given twice/],
    ['has a query out of bounds', '?times=10', '{"text":"a"}', 400, /query\.times must be <= 9/],
    ['has a query that is no number', '?times=3x', '{"text":"a"}', 400, /query\.times must be integer/],
  ];
  for (const [what, query, body, status, pattern] of wrong) {
    it(`that ${what} is refused, and not quoted`, async () => {
      const reply = await client.raw('POST', `/api/echo/x${query}`, json, body);
      assert.equal(reply.status, status, reply.text);
      assert.match(reply.json.error.message, pattern);
      assert.doesNotMatch(reply.text, /words of/);
    });
  }

  it("cannot reach an object's prototype", async () => {
    const body = '{"text":"a","more":{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}}';
    const { json: value } = await client.raw('POST', '/api/echo/x', json, body);
    assert.equal(value.proto, null);
    assert.deepEqual(Object.keys(value.body.more), ['constructor']);
    assert.equal((await client.raw('POST', '/api/echo/__proto__', json, '{"text":"a"}')).json.name, '__proto__');
  });

  it('to nowhere, by a wrong method or with a broken address is told so', async () => {
    assert.equal((await client.raw('GET', '/api/none', bearer)).status, 404);
    const method = await client.raw('DELETE', '/api/upload', bearer);
    assert.deepEqual([method.status, method.headers.allow], [405, 'POST']);
    assert.equal((await client.raw('GET', '/api/%zz', bearer)).status, 400);
    for (const path of ['/..%2f..%2fetc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/etc/passwd']) {
      assert.equal((await client.raw('GET', path)).status, 404);
    }
  });

  it('gets a status by the kind of error, and nothing of a bug', async () => {
    const of = async (how: string) => await client.raw('GET', `/api/fail/${how}`, bearer);
    assert.deepEqual((await of('data')).json, {
      error: {
        message: 'the data is bad, expected good data.',
        code: 'refused',
        found: 'the data is bad',
        expected: 'good data',
      },
    });
    assert.deepEqual([(await of('usage')).status, (await of('full')).status], [400, 507]);
    const bug = await of('bug');
    assert.equal(bug.status, 500);
    assert.doesNotMatch(bug.text, /words of/);
    assert.equal(bugs.length, 1);
  });
});

describe('an upload', () => {
  const type = { ...bearer, 'content-type': 'application/octet-stream' };

  it('is taken up to its limit, with a stated length or in chunks', async () => {
    const bytes = new Uint8Array(1 << 20).fill(7);
    assert.equal((await client.raw('POST', '/api/upload', type, bytes)).json.bytes, bytes.length);
    assert.equal(
      (await client.raw('POST', '/api/upload', { ...type, 'transfer-encoding': 'chunked' }, bytes)).json.bytes,
      bytes.length,
    );
  });

  it('beyond it is refused by its stated length, before it is sent', async () => {
    const before = uploads;
    const status = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(
        {
          host: '127.0.0.1',
          port: client.port,
          method: 'POST',
          path: '/api/upload',
          headers: { ...type, 'content-length': 200e9 },
        },
        (response) => resolve(response.statusCode!),
      );
      request.on('error', reject);
      // Nothing of the body is sent.
      request.flushHeaders();
    });
    assert.equal(status, 413);
    assert.equal(uploads, before);
  });

  it('beyond it is refused while it comes, and no more of it is taken in', async () => {
    const before = uploads;
    const reply = await client.raw(
      'POST',
      '/api/upload',
      { ...type, 'transfer-encoding': 'chunked' },
      new Uint8Array((1 << 20) + 1),
    );
    assert.equal(reply.status, 413);
    assert.equal(reply.headers.connection, 'close');
    assert.equal(uploads, before);
  });

  it('that breaks off reaches no handler', async () => {
    const before = uploads;
    const socket = connect(client.port, '127.0.0.1');
    const head = `POST /api/upload HTTP/1.1\r\nhost: 127.0.0.1:${client.port}\r\nauthorization: ${bearer.authorization}\r\ncontent-type: application/octet-stream\r\ncontent-length: 1000\r\n\r\n`;
    // Half of the body and the end of the connection, which the server closes when it has come upon it.
    socket.resume().end(`${head}${'x'.repeat(500)}`);
    await once(socket, 'close');
    // The next one is answered as if nothing had been.
    assert.equal((await client.raw('POST', '/api/upload', type, new Uint8Array(9))).json.bytes, 9);
    assert.equal(uploads, before + 1);
  });
});

describe('events', () => {
  it('go on after the last one that was seen; an unknown one begins anew', async () => {
    const texts = (events: Awaited<ReturnType<typeof readEvents>>) => events.map(({ data }) => data.n ?? data.type);
    const seen = await readEvents(client, '/api/numbers', {
      until: ({ data }) => {
        // From now on it listens.
        if (data.type === 'hello') for (let n = 1; n <= 3; n++) channel.emit({ type: 'n', n });
        return data.n === 3;
      },
    });
    assert.deepEqual(texts(seen), ['hello', 1, 2, 3]);
    for (let n = 4; n <= 6; n++) channel.emit({ type: 'n', n });
    const at = (n: number) => seen.find(({ data }) => data.n === n)!.id!;
    const again = await readEvents(client, '/api/numbers', { lastId: at(2), until: ({ data }) => data.n === 6 });
    assert.deepEqual(texts(again), [3, 4, 5, 6]);
    for (const lastId of ['nonsense', 'abcdef-3', at(3).replace(/\d+$/, '99')]) {
      const [reset] = await readEvents(client, '/api/numbers', { lastId, until: () => true });
      assert.equal(reset!.data.type, 'reset', lastId);
    }
  });

  it('that were too long ago are not pretended to be known', async () => {
    const [hello] = await readEvents(client, '/api/numbers', { until: () => true });
    for (let n = 0; n < 10_000; n++) channel.emit({ type: 'n', n: 100 + n });
    const [reset, next] = await readEvents(client, '/api/numbers', {
      lastId: hello!.id,
      until: ({ data }) => data.type === 'reset',
    });
    assert.equal(reset!.data.type, 'reset');
    assert.equal(next, undefined);
  });

  it('are made no faster than they are read, and end when the reader goes', async () => {
    // Not by fetch: with Node 20 one that is given up now and then leaves its connection open.
    const request = httpRequest(`${client.base}/api/endless`, { headers: bearer, agent: false }).end();
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(answer.statusCode, 200);
    await until(() => streams === 1);
    answer.destroy();
    await until(() => streams === 0);
  });
});

describe('the page', () => {
  it('is sent compressed to those who take that, and not again to those who have it', async () => {
    const get = (headers: Record<string, string>, method = 'GET') => client.raw(method, '/', headers);
    assert.deepEqual([(await get({})).text, (await get({ 'accept-encoding': 'br, gzip' })).text], ['plain', 'packed']);
    assert.equal((await get({ 'accept-encoding': 'gzip;q=0' })).text, 'plain');
    const known = await get({ 'if-none-match': 'W/"v0", "v1"' });
    assert.deepEqual([known.status, known.text], [304, '']);
    const head = await get({}, 'HEAD');
    assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '5']);
    assert.equal(head.headers['content-security-policy'], "default-src 'self'");
  });

  it('may be opened by a link of another page, and by no picture or script of one', async () => {
    const navigate = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    assert.equal((await client.raw('GET', '/', navigate)).status, 200);
    assert.equal((await client.raw('GET', '/', { ...navigate, 'sec-fetch-dest': 'iframe' })).status, 403);
    assert.equal(
      (
        await client.raw('GET', '/', {
          'sec-fetch-site': 'cross-site',
          'sec-fetch-mode': 'no-cors',
          'sec-fetch-dest': 'image',
        })
      ).status,
      403,
    );
  });
});
