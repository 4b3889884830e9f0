import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { Client, page } from '../testing/server.js';
import { Access } from './http/access.js';
import { HttpServer, securityHeaders, staticRoute } from './http/HttpServer.js';
import type { AnyRoute } from './http/route.js';
import { openapi } from './openapi.js';
import type { Services } from './Services.js';
import { apiRoutes } from './startServer.js';

/** Every route of the list against everyone who may not use it: refused before its handler runs, and before its body is read. */

const access = await Access.open(scratchFolder());
const token = access.session();
const real: AnyRoute<Services>[] = [...apiRoutes, staticRoute<Services>(page)];
let reached = 0;
/** The real declarations with handlers that only count. */
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
  hosts: { names: ['127.0.0.1', 'localhost', '[::1]'], apps: ['https://app.example', 'capacitor://localhost'] },
});
const { port } = await server.listen(0);
after(() => server[Symbol.asyncDispose]());
const client = new Client(port, token);
const host = `127.0.0.1:${port}`;
const keys = {
  chat: await access.keys.add({ name: 'chat' }),
  work: await access.keys.add({ name: 'work', scope: 'work' }),
};
const bearer = { authorization: `Bearer ${token}` };

const addressOf = ({ path }: { path: string }) => path.replace('/{file...}', '/').replace(/\{\w+\}/g, 'x');
/** A body that is right as far as its type goes. */
const right = (route: AnyRoute<Services>): Record<string, string> =>
  route.body !== undefined || route.bytesLimit !== undefined
    ? { 'content-type': route.body === undefined ? 'application/octet-stream' : 'application/json' }
    : {};

async function assertRefused(
  route: AnyRoute<Services>,
  headers: Record<string, string>,
  status: number,
  body?: string,
): Promise<void> {
  const before = reached;
  const reply = await client.raw(route.method, addressOf(route), headers, body);
  assert.equal(reply.status, status, `${route.method} ${route.path}: ${reply.text}`);
  assert.equal(reached, before, 'the handler did not run');
  assert.ok(reply.json.error.message.length > 0);
  for (const [name, value] of Object.entries(securityHeaders)) assert.equal(reply.headers[name], value);
  assert.equal(reply.headers['access-control-allow-origin'], undefined);
  assert.equal(reply.headers['set-cookie'], undefined);
}

for (const route of real) {
  describe(`${route.method} ${route.path}`, () => {
    const all = { ...right(route), ...bearer };

    it('answers nobody without the right token', {
      skip: route.open ? 'holds no data of the user' : false,
    }, async () => {
      const guesses = [
        undefined,
        'Bearer',
        'Bearer wrong',
        `Bearer ${token}x`,
        `Bearer ${token.toUpperCase()}`,
        `Basic ${token}`,
        token,
      ];
      for (const authorization of guesses) {
        await assertRefused(route, { ...right(route), ...(authorization !== undefined && { authorization }) }, 401);
      }
      const path = addressOf(route);
      const inAddress = await client.raw(route.method, `${path}?token=${token}`, {
        ...right(route),
        cookie: `token=${token}`,
      });
      assert.equal(inAddress.status, 401);
    });

    it('answers to its own host names only', async () => {
      const foreign = [
        `evil.example:${port}`,
        'evil.example',
        '127.0.0.1',
        '127.0.0.1:1',
        `127.0.0.1.evil.example:${port}`,
        `localhost.:${port}`,
        '',
      ];
      for (const name of foreign) await assertRefused(route, { ...all, host: name }, name === '' ? 403 : 403);
    });

    it('answers no page of another origin, nor one that hides its origin', async () => {
      const foreign = [
        'null',
        'http://evil.example',
        `https://${host}`,
        `http://${host}.evil.example`,
        'http://127.0.0.1',
        `http://localhost:${port + 1}`,
        '',
        'file://',
      ];
      for (const origin of foreign) await assertRefused(route, { ...all, host, origin }, 403);
      await assertRefused(route, { ...all, host, 'sec-fetch-site': 'cross-site' }, 403);
      await assertRefused(route, { ...all, host, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }, 403);
    });

    it('answers an app that the owner named with an API key, never with the session, and no other origin', async () => {
      const ask = async (headers: Record<string, string>) => {
        const before = reached;
        const reply = await client.raw(route.method, addressOf(route), { ...right(route), host, ...headers });
        return { reply, reached: reached > before };
      };
      for (const origin of ['https://app.example', 'capacitor://localhost']) {
        for (const headers of [{}, bearer]) {
          const { reply, reached } = await ask({ origin, 'sec-fetch-site': 'cross-site', ...headers });
          assert.ok(!reached && [401, 403].includes(reply.status), `${reply.status}`);
        }
        for (const scope of ['chat', 'work'] as const) {
          const may = route.keys === 'chat' || (scope === 'work' && route.keys !== undefined);
          const { reply, reached } = await ask({ origin, authorization: `Bearer ${keys[scope].key}` });
          // A body is wanted, or a query.
          if (!may && !route.open) assert.ok(!reached && reply.status === 403, `${reply.status}`);
          if (may) assert.ok(![401, 403].includes(reply.status), `${reply.status}`);
          assert.equal(reply.headers['access-control-allow-origin'], origin);
          assert.equal(reply.headers.vary, 'origin');
          assert.equal(reply.headers['access-control-allow-credentials'], undefined);
        }
      }
      for (const origin of [
        'http://app.example',
        'https://app.example:8443',
        'https://sub.app.example',
        'https://app.example.evil.example',
        'https://APP.example',
        'https://app.example/',
        'capacitor://localhost.evil.example',
      ]) {
        await assertRefused(route, { ...all, host, origin }, 403);
        await assertRefused(route, { ...all, host, origin, authorization: `Bearer ${keys.work.key}` }, 403);
      }
    });

    it('is refused to API keys that it was not made for', {
      skip: route.open ? 'holds no data of the user' : false,
    }, async () => {
      const may = { chat: route.keys === 'chat', work: route.keys !== undefined };
      for (const scope of ['chat', 'work'] as const) {
        const withKey = { ...right(route), authorization: `Bearer ${keys[scope].key}` };
        if (!may[scope]) await assertRefused(route, withKey, 403);
      }
    });

    it('takes no body of another type', async () => {
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
        'application/jsonx',
      ]) {
        await assertRefused(route, { ...all, 'content-type': type }, 415, '{}');
      }
      await assertRefused(route, { ...all, 'content-type': 'application/json', 'content-encoding': 'gzip' }, 415, '{}');
      if (route.body !== undefined || route.bytesLimit !== undefined) await assertRefused(route, bearer, 415);
    });

    it('is reached by its own page, and by a program that names no origin', {
      skip: route.body !== undefined ? 'wants a body of its own' : false,
    }, async () => {
      const required = (route.query?.required as string[] | undefined) ?? [];
      const address = `${addressOf(route)}${required.length > 0 ? `?${required.map((name) => `${name}=${'1'.repeat(16)}`).join('&')}` : ''}`;
      for (const origin of [undefined, `http://${host}`, `http://localhost:${port}`]) {
        const before = reached;
        const reply = await client.raw(route.method, address, {
          ...all,
          ...(origin !== undefined && { origin, 'sec-fetch-site': 'same-origin' }),
        });
        assert.equal(reply.status, 200, reply.text);
        assert.equal(reached, before + 1);
      }
    });
  });
}

describe('a browser that asks whether an app may ask', () => {
  const preflight = (origin: string, headers: Record<string, string> = {}) =>
    client.raw('OPTIONS', '/v1/chat/completions', {
      host,
      origin,
      'sec-fetch-site': 'cross-site',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization, content-type, x-stainless-os',
      ...headers,
    });

  it('is told so for the origins that the owner named, and whatever the address', async () => {
    const { status, headers } = await preflight('https://app.example', {
      'access-control-request-private-network': 'true',
    });
    assert.equal(status, 204);
    assert.equal(headers['access-control-allow-origin'], 'https://app.example');
    assert.equal(headers['access-control-allow-methods'], 'GET, POST');
    assert.equal(headers['access-control-allow-headers'], 'authorization, content-type, x-stainless-os');
    assert.equal(headers['access-control-allow-private-network'], 'true');
    assert.equal(headers['access-control-allow-credentials'], undefined);
    assert.equal((await preflight('https://app.example')).headers['access-control-allow-private-network'], undefined);
    const odd = await preflight('https://app.example', { 'access-control-request-headers': '*, a:b' });
    assert.equal(odd.headers['access-control-allow-headers'], undefined);
  });

  it('is refused for all others, under a foreign host name, and without an origin', async () => {
    for (const origin of ['https://evil.example', 'null', `http://${host}x`]) {
      const { status, headers } = await preflight(origin);
      assert.equal(status, 403, origin);
      assert.equal(headers['access-control-allow-origin'], undefined);
    }
    const { status } = await preflight('https://app.example', { host: `evil.example:${port}` });
    assert.equal(status, 403);
    assert.equal((await client.raw('OPTIONS', '/v1/models', { host, ...bearer })).status, 405);
  });
});

describe('the list of routes', () => {
  it('changes nothing by GET: those are the only ones that links and pictures can call', () => {
    const verbs = /delete|add|change|destroy|rename|import|stop|pause|resume|cancel|feedback|fetch/i;
    for (const { method, path } of real) if (method === 'GET') assert.doesNotMatch(path, verbs);
  });

  it('gives no key what destroys, takes out, overwrites or protects', () => {
    const forKeys = real.filter(({ keys: scope }) => scope !== undefined);
    assert.ok(forKeys.length > 15);
    for (const { method, path } of forKeys) {
      assert.ok(method === 'GET' || method === 'POST', `${method} ${path}`);
      assert.doesNotMatch(path, /vault|export|keys|settings|conversations|import|cancel|feedback|storage/);
    }
    assert.deepEqual(
      forKeys.filter(({ keys: scope }) => scope === 'chat').map(({ method, path }) => `${method} ${path}`),
      [
        'GET /v1/models',
        'GET /v1/models/{model}',
        'POST /v1/chat/completions',
        'POST /v1/completions',
        'POST /v1/embeddings',
        'POST /tokenize',
        'POST /detokenize',
        'POST /v1/responses',
        'POST /v1/messages',
        'POST /v1/messages/count_tokens',
      ],
    );
  });

  it('has each address once', () => {
    const names = real.map(({ method, path }) => `${method} ${path.replace(/\{\w+/g, '{')}`);
    assert.equal(new Set(names).size, names.length);
  });

  it('asks for the token everywhere but for the page itself and the proof of who serves it', () => {
    assert.deepEqual(
      real.filter(({ open }) => open).map(({ path }) => path),
      ['/api/session', '/api/pairing', '/{file...}'],
    );
  });

  it('is what OpenAPI tells, each route with its parameters', () => {
    const { paths } = openapi(real) as {
      paths: Record<string, Record<string, { parameters?: { name: string; in: string }[] }>>;
    };
    for (const { method, path } of real) {
      const operation = paths[path.replace('...}', '}')]?.[method.toLowerCase()];
      assert.ok(operation, `${method} ${path}`);
      const named = [...path.matchAll(/\{(\w+)/g)].map(([, name]) => name);
      assert.deepEqual(
        (operation.parameters ?? []).filter((one) => one.in === 'path').map(({ name }) => name),
        named,
      );
    }
    const ids = Object.values(paths).flatMap((methods) =>
      Object.values(methods).map((one) => (one as { operationId?: string }).operationId),
    );
    assert.equal(new Set(ids).size, real.length);
  });

  it('hides which addresses exist', async () => {
    for (const path of ['/api/jobs', '/api/nothing', '/v1/nothing']) {
      assert.equal((await client.raw('GET', path)).status, 401, path);
    }
  });
});
