import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { addTinyModel, Client, newHome, sayings, serve } from '../testing/server.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { filesBelow } from '../testing/vault.js';
import { Idle } from './idle.js';

/** Backups of the vault over HTTP, files that come in pieces, and a vault that locks itself. */

const home = newHome();
await addTinyModel(home);
const server = await serve(home);
const client = new Client(server.port, server.token);
const passphrase = 'nine brown loaves';
const names = async () => (await client.ok('GET', '/api/datasets')).datasets.map(({ name }: { name: string }) => name);

async function upload(purpose: 'model' | 'backup', name: string, bytes: Uint8Array, piece = 100_000): Promise<string> {
  const { id } = await client.ok('POST', '/api/uploads', { purpose, name, bytes: bytes.length });
  for (let at = 0; at < bytes.length; at += piece) {
    await client.ok('POST', `/api/uploads/${id}?offset=${at}`, bytes.subarray(at, at + piece));
  }
  return id;
}

async function backup(body: object): Promise<{ status: number; bytes: Uint8Array }> {
  const answer = await fetch(`${client.base}/api/vault/backup`, {
    method: 'POST',
    headers: { authorization: `Bearer ${client.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: answer.status, bytes: new Uint8Array(await answer.arrayBuffer()) };
}

const refused = async (path: string, body: object, code: string) => {
  const reply = await client.send('POST', path, body);
  assert.equal(reply.json.error.code, code, reply.text);
  return reply;
};
/** What came in pieces and was not given a name. */
const left = () => filesBelow(home).filter((path) => path.includes('upload'));

describe('a backup over HTTP', () => {
  it('streams out, comes back in pieces, and replaces what is there only when told so', async () => {
    await client.ok('POST', '/api/datasets?name=mine', { examples: sayings(50) });
    const { status, bytes } = await backup({ passphrase });
    assert.equal(status, 200);
    assert.equal((await backup({ passphrase: '' })).status, 400);
    const { datasets } = await client.ok('GET', '/api/datasets');
    await client.ok('DELETE', `/api/datasets/${datasets[0].id}`);
    await client.ok('POST', '/api/datasets?name=other', { examples: sayings(20) });

    const id = await upload('backup', 'a.age', bytes, 1000);
    const restore = (more: object) => ({ upload: id, passphrase, ...more });
    await refused('/api/vault/restore', restore({}), 'confirm');
    await refused(
      '/api/vault/restore',
      restore({ replace: true, passphrase: 'nine white loaves' }),
      'wrong-passphrase',
    );
    assert.deepEqual(await names(), ['other']);
    const told = await client.ok('POST', '/api/vault/restore', restore({ replace: true }));
    assert.equal(told.datasets, 1);
    assert.deepEqual(await names(), ['mine']);
    assert.equal((await client.send('GET', `/api/uploads/${id}`)).status, 404);
    // Jobs, conversations and settings work on.
    await client.ok('GET', '/api/jobs');
    await client.ok('PATCH', '/api/settings', { lately: 1 });
    assert.deepEqual(left(), []);
  });

  it('asks for the passphrase of the vault, on the way out and in', async () => {
    await client.ok('POST', '/api/vault/passphrase', { next: 'one of the vault' });
    assert.equal((await backup({ passphrase })).status, 403);
    const { bytes } = await backup({ passphrase, current: 'one of the vault' });
    const id = await upload('backup', 'a.age', bytes);
    await refused('/api/vault/restore', { upload: id, passphrase, replace: true }, 'wrong-passphrase');
    await client.ok('POST', '/api/vault/restore', {
      upload: id,
      passphrase,
      replace: true,
      current: 'one of the vault',
    });
    await client.ok('POST', '/api/vault/lock', {});
    await client.ok('POST', '/api/vault/unlock', { passphrase: 'one of the vault' });
    assert.deepEqual(await names(), ['mine']);
  });

  it('that cannot be read breaks off: no client gets a part for the whole', async () => {
    const vault = server.services.vault;
    const original = vault.backup.bind(vault);
    vault.backup = async function* () {
      yield randomBytes(100_000);
      throw Object.assign(new Error('gone'), { code: 'EIO' });
    };
    const bugs = console.error;
    console.error = () => {};
    try {
      await assert.rejects(backup({ passphrase, current: 'one of the vault' }));
    } finally {
      vault.backup = original;
      console.error = bugs;
    }
    const broken = await upload('backup', 'a.age', randomBytes(5000));
    await refused(
      '/api/vault/restore',
      { upload: broken, passphrase, replace: true, current: 'one of the vault' },
      'wrong-format',
    );
    assert.deepEqual(await names(), ['mine']);
  });
});

describe('a file that comes in pieces', () => {
  it('is gone on with where it was, whatever comes twice or too early', async () => {
    const { id } = await client.ok('POST', '/api/uploads', { purpose: 'model', name: 'a.gguf', bytes: 10 });
    const send = (offset: number, text: string) =>
      client.send('POST', `/api/uploads/${id}?offset=${offset}`, Buffer.from(text));
    assert.equal((await send(0, '01234')).json.done, 5);
    for (const offset of [0, 4, 6]) assert.equal((await send(offset, 'x')).json.error.code, 'changed');
    assert.equal((await send(5, '56789a')).json.error.code, 'too-large');
    assert.equal((await client.ok('GET', `/api/uploads/${id}`)).done, 5);
    await refused('/api/models', { upload: id }, 'conflict');
    assert.equal((await send(5, '56789')).json.done, 10);
    await refused('/api/vault/restore', { upload: id, passphrase }, 'conflict');
    await client.ok('DELETE', `/api/uploads/${id}`);
    assert.deepEqual(left(), []);
    const huge = await client.send('POST', '/api/uploads', { purpose: 'model', name: 'a.gguf', bytes: 2 ** 50 });
    assert.equal(huge.json.error.code, 'disk-full');
  });

  it('is a model once it has passed every check, and is deleted with its name', async () => {
    const path = await writeTinyModel(join(scratchFolder(), 'Another Model.gguf'), { seed: 9 });
    const bytes = readFileSync(path);
    const added = await client.ok('POST', '/api/models', {
      upload: await upload('model', 'Another Model.gguf', bytes),
    });
    assert.deepEqual([added.name, added.bytes, added.tuning], ['another-model', bytes.length, 'ridge and training']);
    await refused('/api/models', { upload: await upload('model', 'x.gguf', bytes) }, 'name-taken');
    const cut = await upload('model', 'cut.gguf', bytes.subarray(0, bytes.length - 5000));
    assert.ok((await client.send('POST', '/api/models', { upload: cut })).status >= 400);
    await refused('/api/models', { upload: await upload('model', 'a.gguf', Buffer.from('PK…')) }, 'wrong-format');
    await client.ok('DELETE', '/api/models/another-model');
    assert.deepEqual(
      readdirSync(join(home, 'models', 'added')).filter((name) => name.endsWith('.gguf')),
      [],
    );
  });
});

describe('a vault that locks itself', () => {
  it('does so after the minutes that were set, on whichever clock they have passed', () => {
    const time = { awake: 0, wall: 0 };
    const idle = new Idle({ awake: () => time.awake, wall: () => time.wall });
    assert.equal(idle.isOver(), false);
    Object.assign(idle, { set: 2 });
    time.awake = time.wall = 119_999;
    assert.equal(idle.isOver(), false);
    time.wall = 120_000;
    assert.equal(idle.isOver(), true);
    idle.asked();
    // The clock was set back.
    time.wall = 0;
    time.awake += 119_999;
    assert.equal(idle.isOver(), false);
    time.awake++;
    assert.equal(idle.isOver(), true);
  });

  it('stays open while a job needs it, and is locked afterwards', async () => {
    const { services } = server;
    assert.deepEqual(await client.ok('GET', '/api/vault/idle'), { minutes: null });
    assert.equal((await client.send('POST', '/api/vault/idle', { minutes: 0 })).status, 400);
    assert.deepEqual(await client.ok('POST', '/api/vault/idle', { minutes: 5 }), { minutes: 5 });
    await client.ok('POST', '/api/rules', { onDemand: true });
    const [{ id: dataset }] = (await client.ok('GET', '/api/datasets')).datasets;
    const job = await client.ok('POST', '/api/jobs', { name: 'later', dataset, model: 'tiny', options: {} });
    services.idle.isOver = () => true;
    await client.job(job.id, ({ state }) => state === 'waiting');
    await services.lockIfIdle();
    assert.equal((await client.ok('GET', '/api/status')).vault, 'open', 'a job waits for its turn');
    await client.ok('POST', `/api/jobs/${job.id}/cancel`, {});
    await services.lockIfIdle();
    assert.equal((await client.ok('GET', '/api/status')).vault, 'locked');
    await client.ok('POST', '/api/vault/unlock', { passphrase: 'one of the vault' });
    assert.deepEqual(await client.ok('GET', '/api/vault/idle'), { minutes: 5 });
    await client.ok('POST', '/api/vault/idle', { minutes: null });
    assert.deepEqual(await client.ok('GET', '/api/vault/idle'), { minutes: null });
  });
});
