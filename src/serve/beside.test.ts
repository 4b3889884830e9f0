import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Vault } from '../store/Vault.js';
import { runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import { addTinyModel, Client, newHome, readEvents, sayings, serve } from '../testing/server.js';

/** Several at once: clients that change one thing, and commands and programs that work on the vault while a server has it. */

process.env.LOAM_CHECKPOINT_SECONDS = '0';
const home = newHome();
await addTinyModel(home, { layers: 2 });
const server = await serve(home);
const client = new Client(server.port, server.token);
const passphrase = 'correct horse battery';
const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;

const upload = async (name: string, n = 32) =>
  (await client.ok('POST', `/api/datasets?name=${name}`, { examples: sayings(n) })).id as string;
const options = { method: 'qlora', lr: 1e-2, patience: 99, runs: 1, threads: 1 };
/** With some hundred examples: steps for minutes, whatever is done meanwhile. */
const long = { epochs: 1000, patience: 1000, lr: 1e-4 };
async function newJob(dataset: string, name: string, own: object, more: object = {}): Promise<string> {
  const request = { name, dataset, model: 'tiny', options: { ...options, ...own }, ...more };
  return (await client.ok('POST', '/api/jobs', request)).id;
}
const running = (id: string) => client.job(id, ({ curve }) => curve.train.length >= 2);
const ended = (id: string) => client.job(id, ({ state }) => state !== 'running' && state !== 'queued');
const adapters = async () =>
  (await client.ok('GET', '/api/adapters')).adapters as { id: string; name: string; versions: { id: string }[] }[];
const loam = (...args: string[]) => runLoam([...args, '--json'], { home });
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, 'it has not come about');
    await sleep(50);
  }
}

describe('changes at once', () => {
  it('of one data set: each that was answered with 200 is kept, the others are refused', async () => {
    const { id, sha256 } = await client.ok('POST', '/api/datasets?name=edited', { examples: sayings(3) });
    const edit = (i: number, more: object) =>
      client.send('PATCH', `/api/datasets/${id}`, { add: [{ instruction: `new ${i}`, output: 'x' }], ...more });
    const named = await Promise.all([1, 2, 3].map((i) => edit(i, { sha256 })));
    assert.deepEqual(named.map(({ status }) => status).sort(), [200, 409, 409]);
    assert.ok(named.every(({ status, json }) => status === 200 || json.error.code === 'changed'));
    const open = await Promise.all([4, 5, 6].map((i) => edit(i, {})));
    assert.deepEqual(
      open.map(({ status }) => status),
      [200, 200, 200],
    );
    const marks = await Promise.all([0, 1].map((i) => client.send('PATCH', `/api/datasets/${id}`, { exclude: [i] })));
    assert.deepEqual(
      marks.map(({ status }) => status),
      [200, 200],
    );
    const { examples } = await client.ok('GET', `/api/datasets/${id}/examples`);
    const texts = examples.map(({ instruction }: { instruction: string }) => instruction);
    assert.deepEqual(texts.slice(4).sort(), ['new 4', 'new 5', 'new 6']);
    assert.deepEqual(examples.filter(({ excluded }: { excluded: boolean }) => excluded).length, 2);
  });

  it('of settings, of examples that are kept, and of a conversation: all are kept', async () => {
    await Promise.all(Array.from({ length: 8 }, (_, i) => client.ok('PATCH', '/api/settings', { [`k${i}`]: i })));
    assert.equal(Object.keys(await client.ok('GET', '/api/settings')).length, 8);
    const rate = (i: number) =>
      client.ok('POST', '/api/feedback', { prompt: `p${i}`, answer: 'a', rating: 'up', keepAsExample: true });
    const kept = await Promise.all([1, 2, 3, 4].map(rate));
    assert.equal(new Set(kept.map(({ dataset }) => dataset)).size, 1);
    assert.equal((await client.ok('GET', `/api/datasets/${kept[0].dataset}`)).examples, 4);
    assert.equal(server.services.vault.documents.list('feedback').length, 4);
    const ask = (message: string, conversation?: string) =>
      readEvents(client, '/api/chat', {
        method: 'POST',
        body: { message, model: 'tiny', conversation, options: { maxTokens: 4 } },
      });
    const [begun] = await ask('one');
    const id = begun!.data.conversation as string;
    await Promise.all([ask('two', id), ask('three', id)]);
    const { messages } = await client.ok('GET', `/api/conversations/${id}`);
    const said = messages
      .filter(({ role }: { role: string }) => role === 'user')
      .map((m: { content: string }) => m.content);
    assert.deepEqual([messages.length, said.sort()], [6, ['one', 'three', 'two']]);
    // Deleted while it is answered, it stays deleted.
    await Promise.all([ask('four', id), client.ok('DELETE', `/api/conversations/${id}`)]);
    assert.equal((await client.send('GET', `/api/conversations/${id}`)).status, 404);
  });
});

describe('beside a server', { skip }, () => {
  it('a data set that is deleted on the command line ends the job that learns from it, with every version', async () => {
    const dataset = await upload('one', 400);
    const job = await newJob(dataset, 'first', long);
    await running(job);
    const deleted = await loam('data', 'delete', 'one', '--with-adapters', '--yes');
    assert.equal(deleted.code, 0, deleted.stderr);
    const { state, message } = await client.ok('GET', `/api/jobs/${job}`);
    assert.deepEqual([state, message], ['cancelled', 'its data set was deleted'], 'before the command returns');
    assert.deepEqual(await adapters(), []);
    assert.deepEqual(readdirSync(join(home, 'runs')), []);
  });

  it('what another program deletes ends the job too, and nothing of it appears', async () => {
    const dataset = await upload('two', 400);
    const job = await newJob(dataset, 'second', long);
    await running(job);
    {
      await using other = await Vault.open(home);
      await other.datasets.delete(dataset, { withAdapters: true });
    }
    const { state, message } = await ended(job);
    assert.deepEqual([state, message], ['cancelled', 'its data set was deleted']);
    assert.deepEqual(await adapters(), []);
  });

  it('a version that is deleted ends the job that began with it', async () => {
    const dataset = await upload('three', 400);
    await client.job(await newJob(dataset, 'base', { epochs: 0.3 }), ({ state }) => state === 'done');
    const [base] = await adapters();
    const job = await newJob(dataset, 'child', long, { start: base!.versions[0]!.id });
    await running(job);
    assert.equal((await loam('adapters', 'delete', 'base', '--yes')).code, 0);
    const { state, message } = await client.ok('GET', `/api/jobs/${job}`);
    assert.deepEqual([state, message], ['cancelled', 'a version that it builds on was deleted']);
    assert.deepEqual(await adapters(), []);
  });

  it('other commands work, and the passphrase and the end of all are left to it', async () => {
    const file = join(scratchFolder(), 'data.json');
    writeFileSync(file, JSON.stringify(sayings(3)));
    assert.equal((await loam('data', 'add', file, '--name', 'four')).code, 0);
    const { datasets } = await client.ok('GET', '/api/datasets');
    assert.ok(datasets.some(({ name }: { name: string }) => name === 'four'));
    const word = join(scratchFolder(), 'word');
    writeFileSync(word, `${passphrase}\n`);
    for (const args of [
      ['passphrase', '--new-file', word],
      ['destroy', '--yes'],
    ]) {
      const refused = await loam('vault', ...args);
      assert.equal(JSON.parse(refused.stdout).code, 'busy', refused.stderr);
    }
    assert.equal((await client.ok('GET', '/api/status')).vault, 'open');
  });

  it('a key that somebody else changes locks it; the job waits, and goes on once it is unlocked', async () => {
    const dataset = await upload('five');
    const job = await newJob(dataset, 'waits', { epochs: 60 });
    await running(job);
    {
      await using other = await Vault.open(home);
      await other.changePassphrase(passphrase);
    }
    await until(async () => (await client.ok('GET', '/api/status')).vault === 'locked');
    const refused = await client.send('PATCH', '/api/settings', { a: 1 });
    assert.deepEqual([refused.status, refused.json.error.code], [423, 'locked']);
    await client.ok('POST', '/api/vault/unlock', { passphrase });
    const { state, curve } = await client.job(job, (one) => one.state === 'done');
    assert.deepEqual([state, curve.train.at(-1)![0]], ['done', curve.steps]);
    {
      await using other = await Vault.open(home, { passphrase });
      await other.changePassphrase(undefined);
    }
    // Without a passphrase there is nothing to wait for.
    await until(async () => (await client.send('GET', '/api/adapters')).status === 200);
    assert.equal((await adapters()).length, 1);
  });

  it('a vault that is destroyed under it is told, and a new one is taken up', async () => {
    const job = await newJob(await upload('six', 400), 'lost', long);
    await running(job);
    await Vault.destroy(home);
    let told = { status: 0, text: '' };
    await until(async () => {
      told = await client.send('GET', '/api/datasets');
      return told.status === 404;
    });
    assert.match(told.text, /the vault was deleted meanwhile/);
    {
      await using fresh = await Vault.open(home);
      await fresh.documents.put('note', 'n', Buffer.from('n'));
    }
    await until(async () => (await client.send('GET', '/api/datasets')).status === 200);
    assert.deepEqual((await client.ok('GET', '/api/datasets')).datasets, []);
  });
});
