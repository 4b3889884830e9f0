import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { fakeModel, HubServer } from '../testing/hubServer.js';
import { drain, FAST, hubEntry, scratch } from '../testing/scratch.js';
import { fetchModel } from './fetchModel.js';

/** What another process runs: a download that tells each event on a line. */
const PROGRAM = `
const { fetchModel } = await import(process.argv[1]);
const { entry, options } = JSON.parse(process.argv[2]);
for await (const event of fetchModel(entry, options)) console.log(JSON.stringify(event));
`;

function start(entry: unknown, options: unknown) {
  const module = new URL('./fetchModel.js', import.meta.url).href;
  const args = ['--input-type=module', '-e', PROGRAM, module, JSON.stringify({ entry, options })];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

it('a process that is killed leaves a part that the next run completes, and a lock that does not hold it up', async (t) => {
  const data = fakeModel(400_000);
  const server = await HubServer.start(data);
  t.after(() => server.close());
  const home = scratch(t);
  const options = { home, endpoint: server.hub, timing: { ...FAST, stallMs: 20_000 }, token: '' };
  const entry = hubEntry(data.length);
  const at = (end: string) => join(home, 'models', `model.gguf${end}`);
  server.stallAfter = [250_000];
  const child = start(entry, options);
  for await (const text of child.stdout.setEncoding('utf8')) {
    if (/"done":250000/.test(text)) {
      child.kill('SIGKILL');
      break;
    }
  }
  await new Promise((resolve) => (child.signalCode === null ? child.once('exit', resolve) : resolve(null)));
  assert.equal(existsSync(at('.lock')), true);
  assert.equal(statSync(at('.partial')).size, 250_000);
  const { events } = await drain(fetchModel(entry, options));
  assert.equal(
    events.some((event) => event.type === 'waiting'),
    false,
  );
  assert.deepEqual(server.ranges(), [null, 'bytes=250000-']);
  assert.deepEqual(readFileSync(at('')), data);
  assert.equal(existsSync(at('.lock')), false);
});

it('two processes that download the same model end with one whole file', async (t) => {
  const data = fakeModel(400_000, 3);
  const server = await HubServer.start(data);
  t.after(() => server.close());
  const home = scratch(t);
  const options = { home, endpoint: server.hub, timing: FAST, token: '' };
  const entry = hubEntry(data.length);
  const codes = await Promise.all(
    [start(entry, options), start(entry, options)].map((child) => {
      child.stdout.resume();
      return new Promise((resolve) => child.once('exit', resolve));
    }),
  );
  assert.deepEqual(codes, [0, 0]);
  assert.equal(server.ranges().length, 1);
  assert.deepEqual(readFileSync(join(home, 'models', 'model.gguf')), data);
});
