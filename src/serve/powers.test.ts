import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { resultOf, runLoam } from '../testing/runLoam.js';
import { addTinyModel, Client, newHome, serve } from '../testing/server.js';

/** What opens what: API keys and their limits, and the acts that ask for the passphrase again. */

const home = newHome();
await addTinyModel(home);
const server = await serve(home);
const owner = new Client(server.port, server.token);
const { vault } = server.services;
const sha256 = (await server.services.model('tiny')).sha256!;
const lineage = { base: { name: 'tiny', sha256 }, datasets: [] };
const [mara, other] = await Promise.all(
  ['mara', 'other'].map((name) => vault.adapters.addVersion(name, new Uint8Array(8), lineage)),
);
const loam = (...args: string[]) => runLoam([...args, '--json'], { home });
const ids = async (client: Client) =>
  (await client.ok('GET', '/v1/models')).data.map(({ id }: { id: string }) => id) as string[];

describe('an API key', () => {
  it('talks to what it was made for, and to nothing else', async () => {
    const { key } = await owner.ok('POST', '/api/keys', { name: 'one adapter', adapter: mara!.adapter });
    const client = new Client(server.port, key);
    assert.deepEqual(await ids(client), ['mara', 'mara@1']);
    assert.equal((await client.send('GET', '/v1/models/mara@1')).status, 200);
    for (const model of ['tiny', 'other', 'other@1', 'mara@2', other!.id]) {
      assert.equal((await client.send('GET', `/v1/models/${model}`)).status, 404, model);
      for (const [path, what] of [
        ['/v1/chat/completions', { messages: [{ role: 'user', content: 'a' }] }],
        ['/v1/completions', { prompt: 'a' }],
      ] as const) {
        assert.equal((await client.send('POST', path, { model, ...what })).status, 404, model);
      }
    }
    const free = new Client(server.port, (await owner.ok('POST', '/api/keys', { name: 'free' })).key);
    assert.deepEqual(await ids(free), await ids(owner));
    const answer = await free.ok('POST', '/v1/completions', { model: 'tiny', prompt: 'the', max_tokens: 2 });
    assert.ok(answer.usage.completion_tokens <= 2);
    const refused = await free.send('GET', '/api/datasets');
    assert.deepEqual([refused.status, refused.json.error.code], [403, 'key-limited']);
    assert.equal((await owner.send('POST', '/api/keys', { name: 'none', adapter: 'none' })).status, 404);
  });

  it('ends when it is revoked on the page, and when on the command line', async () => {
    const made = await owner.ok('POST', '/api/keys', { name: 'page' });
    const client = new Client(server.port, made.key);
    await ids(client);
    await owner.ok('DELETE', `/api/keys/${made.id}`);
    assert.equal((await client.send('GET', '/v1/models')).status, 401);
    assert.equal((await owner.send('DELETE', `/api/keys/${made.id}`)).status, 404);

    // The command asks the server that runs.
    const shown = resultOf(await loam('keys', 'add', 'kitchen', '--adapter', 'mara'));
    const key = shown.key as { key: string; adapter: string };
    assert.equal(key.adapter, mara!.adapter);
    const kitchen = new Client(server.port, key.key);
    assert.deepEqual(await ids(kitchen), ['mara', 'mara@1']);
    const keys = resultOf(await loam('keys', 'list')).keys as { name: string }[];
    assert.ok(keys.some(({ name }) => name === 'kitchen'));
    resultOf(await loam('keys', 'revoke', 'kitchen'));
    assert.equal((await kitchen.send('GET', '/v1/models')).status, 401);
    assert.ok(!readFileSync(join(home, 'server', 'keys.json'), 'utf8').includes('kitchen'));
    assert.equal((await loam('keys', 'revoke', 'kitchen')).code, 1);
  });

  it('has so many requests at a time', async () => {
    const { key } = await owner.ok('POST', '/api/keys', { name: 'greedy', scope: 'work' });
    const greedy = new Client(server.port, key);
    const abort = new AbortController();
    const streams: Response[] = [];
    for (let i = 0; i < 16; i++) {
      const headers = { authorization: `Bearer ${key}` };
      streams.push(await fetch(`${greedy.base}/api/events`, { headers, signal: abort.signal }));
    }
    const refused = await greedy.send('GET', '/api/status');
    assert.deepEqual([refused.status, refused.json.error.code], [429, 'busy']);
    await owner.ok('GET', '/api/status');
    abort.abort();
    for (let status = 429; status !== 200; ) ({ status } = await greedy.send('GET', '/api/status'));
  });
});

describe('the passphrase', () => {
  const wrong = async (path: string, body: object) => {
    const reply = await owner.send('POST', path, body);
    assert.deepEqual([reply.status, reply.json.error.code], [403, 'wrong-passphrase'], `${path}: ${reply.text}`);
  };

  it('is asked for again by what takes protection or everything away', async () => {
    const none = await owner.send('POST', '/api/vault/unlock', { passphrase: 'any' });
    assert.deepEqual([none.status, none.json.error.code], [409, 'conflict']);
    await owner.ok('POST', '/api/vault/passphrase', { next: 'first one here' });
    await wrong('/api/vault/unlock', { passphrase: 'any' });
    await owner.ok('POST', '/api/vault/unlock', { passphrase: 'first one here' });
    for (const next of [null, 'second one here']) {
      await wrong('/api/vault/passphrase', { next });
      await wrong('/api/vault/passphrase', { next, current: 'any' });
    }
    await owner.ok('POST', '/api/vault/passphrase', { next: 'second one here', current: 'first one here' });
    await wrong('/api/vault/unlock', { passphrase: 'first one here' });
    await wrong('/api/vault/destroy', { confirm: 'delete everything' });
    await wrong('/api/vault/destroy', { confirm: 'delete everything', passphrase: 'first one here' });
    assert.equal(server.services.vault.adapters.list().length, 2);
    await owner.ok('POST', '/api/vault/destroy', { confirm: 'delete everything', passphrase: 'second one here' });
    assert.equal((await owner.ok('GET', '/api/status')).protection, 'key');
    assert.deepEqual((await owner.ok('GET', '/api/keys')).keys, [], 'keys end with what they opened');
  });
});
