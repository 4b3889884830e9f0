import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { FileFaults } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { addTinyModel, Client, newHome, readEvents, ServerProcess, sayings, serve } from '../testing/server.js';

/** A server whose folder cannot be written: it answers, shows what is there, and refuses each change by a code. */

const home = newHome();
await addTinyModel(home);
const ask = (client: Client, message: string, conversation?: string) =>
  readEvents(client, '/api/chat', {
    method: 'POST',
    body: { message, model: 'tiny', conversation, options: { maxTokens: 4 } },
  });

/** What was there before. */
const filled = await (async () => {
  await using server = await serve(home);
  const client = new Client(server.port, server.token);
  const { id } = await client.ok('POST', '/api/datasets?name=kept', { examples: sayings(3) });
  const said = await ask(client, 'a question');
  await client.ok('PATCH', '/api/settings', { theme: 'dark' });
  return { dataset: id as string, conversation: said.at(-1)!.data.conversation as string };
})();
const fresh = join(scratchFolder(), 'fresh');
cpSync(home, fresh, { recursive: true });
// What a server and its first question would write.
for (const name of ['server', 'proven']) rmSync(join(fresh, name), { recursive: true, force: true });
const files = (folder: string) => readdirSync(folder, { recursive: true }).map(String).sort();

const changes: [method: string, path: string, body?: unknown][] = [
  ['POST', '/api/datasets?name=new', { examples: sayings(2) }],
  ['POST', '/api/datasets?name=new', Buffer.from('{"instruction":"a","output":"b"}\n')],
  ['PATCH', `/api/datasets/${filled.dataset}`, { name: 'other' }],
  ['DELETE', `/api/datasets/${filled.dataset}`],
  ['POST', '/api/jobs', { name: 'a', dataset: filled.dataset, model: 'tiny', options: {} }],
  ['DELETE', `/api/conversations/${filled.conversation}`],
  ['PATCH', '/api/settings', { theme: 'light' }],
  ['POST', '/api/feedback', { prompt: 'p', answer: 'a', rating: 'up', keepAsExample: false }],
  ['POST', '/api/keys', { name: 'new' }],
  ['DELETE', '/api/keys/x'],
  ['POST', '/api/models/smollm2-135m/fetch'],
  ['DELETE', '/api/models/tiny'],
  ['POST', '/api/vault/passphrase', { next: 'correct horse battery' }],
  ['POST', '/api/vault/destroy', { confirm: 'delete everything' }],
];

async function showsWhatIsThere(client: Client): Promise<void> {
  const status = await client.ok('GET', '/api/status');
  assert.deepEqual([status.readOnly, status.vault], [true, 'open']);
  assert.equal((await client.ok('GET', `/api/datasets/${filled.dataset}/examples`)).examples.length, 3);
  assert.deepEqual(await client.ok('GET', '/api/settings'), { theme: 'dark' });
  for (const path of ['/api/models', '/api/jobs', '/api/adapters', '/api/keys', '/api/storage', '/v1/models']) {
    await client.ok('GET', path);
  }
  // The conversation goes on, and stays as it was.
  const { messages } = await client.ok('GET', `/api/conversations/${filled.conversation}`);
  const said = await ask(client, 'and then?', filled.conversation);
  assert.deepEqual([said.at(-1)!.data.done, said.at(-1)!.data.conversation], [true, null]);
  const again = await client.ok('GET', `/api/conversations/${filled.conversation}`);
  assert.deepEqual(again.messages, messages);
  const question = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }], max_tokens: 2 };
  assert.equal((await client.ok('POST', '/v1/chat/completions', question)).choices.length, 1);
}

async function refusesChanges(client: Client): Promise<void> {
  for (const [method, path, body] of changes) {
    const { status, json } = await client.send(method, path, body);
    assert.equal(status, 422, `${method} ${path}`);
    assert.equal(json.error.code, 'unwritable', `${method} ${path}`);
    assert.match(json.error.fix, /make the folder writable and start the server again/);
  }
  assert.equal((await client.ok('GET', '/api/datasets')).datasets[0].name, 'kept');
}

describe('a server on a folder that cannot be written', () => {
  it('answers and shows what is there, and refuses changes', async () => {
    const before = files(home);
    using _ = await FileFaults.install(home, { at: 1, how: 'EROFS', from: true });
    await using server = await serve(home);
    const client = new Client(server.port, server.token);
    await showsWhatIsThere(client);
    await refusesChanges(client);
    assert.deepEqual(
      files(home).filter((name) => !/\.(new|partial)$/.test(name)),
      before,
    );
  });

  it('that has become so meanwhile, goes on, and each change says so', async () => {
    const copy = join(scratchFolder(), 'copy');
    cpSync(home, copy, { recursive: true });
    await using server = await serve(copy);
    const client = new Client(server.port, server.token);
    using faults = await FileFaults.install(copy, { at: 1, how: 'EROFS', from: true });
    // Two of these need nothing of the disk: no such key is there, and a fetch fails in its own time.
    const writing = changes.filter(([, path]) => !path.endsWith('/keys/x') && !path.endsWith('/fetch'));
    for (const [method, path, body] of writing) {
      const { status, json } = await client.send(method, path, body);
      assert.equal(json?.error?.code, 'unwritable', `${method} ${path}: ${status}`);
    }
    const said = await ask(client, 'still there?');
    assert.ok(said.some(({ data }) => data.type === 'text'));
    assert.equal(said.at(-1)!.data.code, 'unwritable');
    assert.ok(!server.lost.aborted);
    faults.cure();
    await client.ok('PATCH', '/api/settings', { theme: 'light' });
  });

  const mounts = canMount();
  it('by its disk itself, with and without what an earlier server has left', {
    skip: !mounts && 'needs user namespaces',
  }, async () => {
    for (const folder of [home, fresh]) {
      const before = files(folder);
      const server = await ServerProcess.start(folder, {}, [], mounted(folder));
      after(() => server.end('SIGKILL'));
      assert.match(server.output(), /cannot be written: it answers and shows what is there/);
      await showsWhatIsThere(server.client);
      await refusesChanges(server.client);
      await server.end('SIGTERM');
      assert.equal(server.child.exitCode, 0, server.output());
      assert.deepEqual(files(folder), before);
    }
  });

  it('and has no vault yet, starts and says so; one that is not there at all is an error', {
    skip: !mounts && 'needs user namespaces',
  }, async () => {
    const empty = scratchFolder();
    const server = await ServerProcess.start(empty, {}, [], mounted(empty));
    const status = await server.client.ok('GET', '/api/status');
    assert.deepEqual([status.readOnly, status.vault], [true, 'absent']);
    const { json } = await server.client.send('GET', '/api/datasets');
    assert.equal(json.error.code, 'unwritable');
    await server.end('SIGTERM');
    await assert.rejects(ServerProcess.start(join(empty, 'none'), {}, [], mounted(empty)), /loam serve ended \(1\)/);
    assert.ok(!existsSync(join(empty, 'none')));
  });
});

/** A command line that runs another with a folder on a disk that can only be read. */
function mounted(folder: string): string[] {
  const script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"';
  return ['unshare', '-rm', 'sh', '-c', script, 'sh', folder];
}

function canMount(): boolean {
  try {
    execFileSync('unshare', [...mounted(scratchFolder()).slice(1), 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
