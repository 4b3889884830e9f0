import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../../testing/scratch.js';
import { Access, openSession } from './access.js';
import { serverFolder } from './apiKeys.js';
import { proofText, sessionText, sessionToken } from './challenge.js';

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const refused = (access: Access, token: string) =>
  assert.throws(() => access.caller(bearer(token)), /wrong access token/, token);
const mac = (secret: string, text: string) => createHmac('sha256', secret).update(text).digest('hex');

describe('a session', () => {
  it('is what a page makes of the server’s answer, and ends with the server', async () => {
    const home = scratchFolder();
    const first = await Access.open(home);
    const said = first.hello('127.0.0.1:1', 'nonce');
    assert.equal(said.proof, mac(first.pairing, proofText('127.0.0.1:1', 'nonce', said)));
    const token = sessionToken(said.until, mac(first.pairing, sessionText(said)));
    assert.deepEqual(first.caller(bearer(token)), {});
    const next = await Access.open(home);
    assert.equal(next.pairing, first.pairing, 'a paired browser goes on working');
    refused(next, token);
    refused(next, first.session());
    refused(next, first.pairing);
  });

  it('has an end, which nobody can put off', async () => {
    const access = await Access.open(scratchFolder());
    const said = access.hello('127.0.0.1:1', 'nonce');
    const of = (until: number, macOf = until) =>
      sessionToken(until, mac(access.pairing, sessionText({ ...said, until: macOf })));
    const now = Math.floor(Date.now() / 1000);
    assert.deepEqual(access.caller(bearer(of(now + 60))), {});
    refused(access, of(now - 1));
    refused(access, of(now + 60, now - 1));
    assert.ok(said.until > now && said.until <= now + 24 * 3600);
  });

  it('is not to be had with a pairing secret that was replaced', async () => {
    const home = scratchFolder();
    const old = await Access.open(home);
    const access = await Access.open(home, { renew: true });
    assert.notEqual(access.pairing, old.pairing);
    const said = access.hello('h', 'nonce');
    assert.notEqual(said.proof, mac(old.pairing, proofText('h', 'nonce', said)));
    refused(access, sessionToken(said.until, mac(old.pairing, sessionText(said))));
  });

  it('is not named to a program that has the port and does not know the secret, nor one that asks the server elsewhere', async () => {
    const home = scratchFolder();
    const access = await Access.open(home);
    const seen: string[] = [];
    let answer = (_: string): unknown => ({});
    const stranger = createServer((request, response) => {
      seen.push(`${request.url} ${JSON.stringify(request.headers)}`);
      response.end(JSON.stringify(answer(new URL(request.url!, 'http://x').searchParams.get('nonce')!)));
    });
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
    const { port } = stranger.address() as AddressInfo;
    const base = `http://127.0.0.1:${port}`;
    const open = () => openSession(home, base, AbortSignal.timeout(5000));
    assert.equal(await open(), undefined);
    answer = () => ({ ...access.hello(`127.0.0.1:${port}`, 'another'), start: 'x' });
    assert.equal(await open(), undefined);
    // The real server, at another port, answers to its own name only.
    answer = (nonce) => access.hello(`127.0.0.1:${port + 1}`, nonce);
    assert.equal(await open(), undefined);
    assert.equal(seen.length, 3);
    for (const text of seen) assert.ok(!text.includes(access.pairing) && !/authorization/i.test(text));
    // The same server under its own name is known.
    answer = (nonce) => access.hello(`127.0.0.1:${port}`, nonce);
    const token = await open();
    assert.deepEqual(access.caller(bearer(token!)), {});
    stranger.close();
  });
});

describe('API keys', () => {
  it('are kept as hashes, listed without themselves, and end when they are revoked or their days are over', async () => {
    const home = scratchFolder();
    const access = await Access.open(home);
    const { key, id } = await access.keys.add({ name: 'Kitchen tablet', adapter: 'a1' });
    const short = await access.keys.add({ name: 'short', scope: 'work', days: 1 });
    const path = join(serverFolder(home), 'keys.json');
    assert.ok(!readFileSync(path, 'utf8').includes(key));
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(serverFolder(home), 'pairing')).mode & 0o777, 0o600);
    await assert.rejects(access.keys.add({ name: 'short' }), { code: 'exists' });
    const found = access.caller(bearer(key)).key!;
    assert.deepEqual([found.name, found.scope, found.adapter], ['Kitchen tablet', 'chat', 'a1']);

    const next = await Access.open(home);
    assert.deepEqual(
      next.keys.list().map(({ name }) => name),
      ['Kitchen tablet', 'short'],
    );
    for (const one of next.keys.list()) assert.ok(!('sha256' in one) && !('key' in one));
    assert.equal(next.caller(bearer(key)).key?.id, id);
    assert.equal(next.keys.list()[0]!.usedOn, new Date().toISOString().slice(0, 10));
    refused(next, `${key}x`);
    assert.equal(await next.keys.revoke(id), true);
    assert.equal(await next.keys.revoke(id), false);
    refused(next, key);
    refused(await Access.open(home), key);

    // A day later.
    const file = JSON.parse(readFileSync(path, 'utf8')) as { keys: { endsAt: string }[] };
    file.keys[0]!.endsAt = new Date(Date.now() - 1).toISOString();
    writeFileSync(path, JSON.stringify(file));
    const later = await Access.open(home);
    refused(later, short.key);
    assert.equal(later.keys.list().length, 1);
  });

  it('made at the same time are all kept', async () => {
    const home = scratchFolder();
    const { keys } = await Access.open(home);
    await Promise.all(Array.from({ length: 20 }, (_, i) => keys.add({ name: `key ${i}` })));
    assert.equal((await Access.open(home)).keys.list().length, 20);
  });

  it('are not forgotten silently when their list is damaged', async () => {
    const home = scratchFolder();
    await (await Access.open(home)).keys.add({ name: 'one' });
    const path = join(serverFolder(home), 'keys.json');
    writeFileSync(path, '{"version":1,"keys":[{"name":"one"}]}');
    await assert.rejects(Access.open(home), { code: 'damaged', message: /keys\.json/ });
  });
});

it('the token of earlier versions, which every program was shown, is removed', async () => {
  const home = scratchFolder();
  await Access.open(home);
  const path = join(serverFolder(home), 'token');
  writeFileSync(path, 'old');
  await Access.open(home);
  assert.ok(!existsSync(path));
});
