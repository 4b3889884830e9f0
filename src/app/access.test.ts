import assert from 'node:assert/strict';
import type { webcrypto } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { afterEach, it } from 'node:test';
import { Access, helloRoute, pairRoute } from '../serve/http/access.js';
import { HttpServer } from '../serve/http/HttpServer.js';
import { scratchFolder } from '../testing/scratch.js';

/** How the page gets in (page/access.ts), with the little of a browser that it needs: an address, a database, fetch. */

interface PageAccess {
  takeLink(): Promise<boolean>;
  session(): Promise<string>;
  prove(): Promise<string>;
  pair(link: string): Promise<string>;
  acceptOffer(): Promise<string>;
  pairingState(): Promise<{ paired: boolean; offered: boolean }>;
  disconnect(): Promise<void>;
}

type Entries = Map<string, unknown>;

/** The database of one browser. */
function fakeDatabase(entries: Entries): unknown {
  const asked = (result: unknown) => {
    const request = { result, onsuccess: () => {}, onerror: () => {} };
    setImmediate(() => request.onsuccess());
    return request;
  };
  const store = {
    get: (name: string) => asked(entries.get(name)),
    put: (value: unknown, name: string) => asked(entries.set(name, value)),
    delete: (name: string) => asked(entries.delete(name)),
  };
  const database = { close: () => {}, createObjectStore: () => {}, transaction: () => ({ objectStore: () => store }) };
  return { open: () => asked(database) };
}

const realFetch = globalThis.fetch;
const realCrypto = globalThis.crypto;
let loads = 0;

/** A page at an address, as a browser with this database loads it. */
async function open(base: string, hash: string, entries: Entries): Promise<PageAccess> {
  const { host } = new URL(base);
  const location = { host, hash, pathname: '/' };
  const put = (name: string, value: unknown) =>
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  put('location', location);
  put('history', {
    replaceState: () => {
      location.hash = '';
    },
  });
  put('addEventListener', () => {});
  put('indexedDB', fakeDatabase(entries));
  put('localStorage', { removeItem: () => {} });
  // A connection each: one that is kept would be to a server that has ended.
  put('fetch', (path: string, init: RequestInit) =>
    realFetch(new URL(path, base), { ...init, headers: { ...init.headers, connection: 'close' } }),
  );
  const module = `./page/access.js?${++loads}`;
  const page = (await import(module)) as PageAccess;
  await page.takeLink();
  assert.equal(location.hash, '', 'the link leaves the address');
  return page;
}

const running: { [Symbol.asyncDispose](): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one[Symbol.asyncDispose]();
  Object.defineProperty(globalThis, 'fetch', { value: realFetch, configurable: true, writable: true });
  Object.defineProperty(globalThis, 'crypto', { value: realCrypto, configurable: true, writable: true });
});

async function serve(access: Access, port = 0): Promise<string> {
  const routes = [helloRoute<null>(() => access), pairRoute<null>(() => access)];
  const server = new HttpServer<null>({ routes, context: null, access, hosts: { names: ['127.0.0.1'] } });
  running.push(server);
  return `http://127.0.0.1:${(await server.listen(port)).port}`;
}

/** A program that has taken a port, and what it was sent. */
async function squat(port: number, answer: (url: URL) => unknown): Promise<string[]> {
  const seen: string[] = [];
  const server: Server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`);
    response.end(JSON.stringify(answer(new URL(request.url!, 'http://x'))));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  running.push({
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return seen;
}

const isLetIn = (access: Access, token: string) =>
  assert.deepEqual(access.caller({ headers: { authorization: `Bearer ${token}` } }), {});
const notOurs = (promise: Promise<unknown>) =>
  assert.rejects(promise, (error: Error) => /Loam|let in/.test(error.message));

for (const secure of [true, false]) {
  it(`a browser is paired by the link and gets in again, ${secure ? 'with keys of its own' : 'without'}`, async () => {
    if (!secure) {
      const value = { getRandomValues: (bytes: Uint8Array) => realCrypto.getRandomValues(bytes) };
      Object.defineProperty(globalThis, 'crypto', { value, configurable: true, writable: true });
    }
    const access = await Access.open(scratchFolder());
    const base = await serve(access);
    const entries: Entries = new Map();
    const page = await open(base, `#token=${access.pairing}`, entries);
    isLetIn(access, await page.session());
    const kept = entries.get('pairing');
    if (secure) {
      assert.equal((kept as webcrypto.CryptoKey).extractable, false);
      await assert.rejects(realCrypto.subtle.exportKey('raw', kept as webcrypto.CryptoKey));
    } else assert.equal(kept, access.pairing);
    const again = await open(base, '', entries);
    isLetIn(access, await again.session());
    isLetIn(access, await again.prove());
    await again.disconnect();
    await notOurs(again.session());
    await notOurs((await open(base, '', entries)).session());
  });
}

it('a program that has the port gets nothing that opens the server, whatever it answers', async () => {
  const access = await Access.open(scratchFolder());
  const entries: Entries = new Map();
  const [real] = [await serve(access)];
  const page = await open(real, `#token=${access.pairing}`, entries);
  const before = await page.session();
  await running.pop()![Symbol.asyncDispose]();
  const port = Number(new URL(real).port);
  // The real server is elsewhere meanwhile, and the stranger asks it.
  const elsewhere = await serve(access);
  const answers: (() => unknown)[] = [() => ({}), () => access.hello(new URL(elsewhere).host, 'other')];
  let relayed: unknown;
  answers.push(() => relayed);
  let turn = 0;
  const seen = await squat(port, (url) => {
    const nonce = url.searchParams.get('nonce') ?? '';
    relayed = access.hello(new URL(elsewhere).host, nonce);
    return answers[turn]!();
  });
  for (turn = 0; turn < answers.length; turn++) {
    await notOurs(page.prove());
    await notOurs((await open(real, '', entries)).session());
  }
  assert.equal(seen.length, 2 * answers.length);
  for (const text of seen) {
    assert.ok(
      !text.includes(before) && !text.includes(access.pairing) && !/authorization|loam-session/i.test(text),
      text,
    );
  }
});

it('a link does not take the place of a pairing by itself', async () => {
  const [mine, other] = [await Access.open(scratchFolder()), await Access.open(scratchFolder())];
  const base = await serve(mine);
  const entries: Entries = new Map();
  await (await open(base, `#token=${mine.pairing}`, entries)).session();
  const kept = entries.get('pairing');
  // Of another server than the one that answers: nothing becomes of it.
  const page = await open(base, `#token=${other.pairing}`, entries);
  isLetIn(mine, await page.session());
  assert.deepEqual(await page.pairingState(), { paired: true, offered: false });
  // The one that answers is another: the person is asked first.
  await running.pop()![Symbol.asyncDispose]();
  await serve(other, Number(new URL(base).port));
  const asked = await open(base, `#token=${other.pairing}`, entries);
  await notOurs(asked.session());
  assert.deepEqual(await asked.pairingState(), { paired: true, offered: true });
  assert.equal(entries.get('pairing'), kept);
  isLetIn(other, await asked.acceptOffer());
  isLetIn(other, await (await open(base, '', entries)).session());
});

it('a link of another server pairs nothing', async () => {
  const [mine, other] = [await Access.open(scratchFolder()), await Access.open(scratchFolder())];
  const base = await serve(mine);
  const entries: Entries = new Map();
  const page = await open(base, `#token=${other.pairing}`, entries);
  await notOurs(page.session());
  assert.equal(entries.size, 0);
  isLetIn(mine, await page.pair(`${base}/#token=${mine.pairing}`));
});

it('a code pairs one browser, once, and not for ever', async () => {
  const access = await Access.open(scratchFolder());
  const base = await serve(access);
  const code = access.onceCode(60_000);
  isLetIn(access, await (await open(base, `#code=${code}`, new Map())).session());
  await notOurs((await open(base, `#code=${code}`, new Map())).session());
  await notOurs((await open(base, `#code=${access.onceCode(-1)}`, new Map())).session());
});
