import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Desk, sayings } from '../testing/cli.js';
import { rounds } from '../testing/faults.js';
import { fakeModel, HubServer } from '../testing/hubServer.js';
import { Client } from '../testing/server.js';

/**
 * Campaign 20: every connection that a program tries to make is recorded, over a run of the commands and of a server that tunes, chats and
 * exports: none but to this device, and a download that was started. Where there is strace, by the system's own account and of every
 * process and library; else by Node's.
 */

const program = fileURLToPath(new URL('../../bin/loam.js', import.meta.url));
const desk = new Desk();
const log = desk.path('connections');
const hook = `
  import { appendFileSync } from 'node:fs';
  import net from 'node:net';
  import dgram from 'node:dgram';
  import dns from 'node:dns';
  import { syncBuiltinESMExports } from 'node:module';
  const note = (to) => appendFileSync(${JSON.stringify(log)}, to + '\\n');
  const { connect } = net.Socket.prototype;
  net.Socket.prototype.connect = function (...args) {
    const [first] = Array.isArray(args[0]) ? args[0] : args;
    if (typeof first === 'object' ? !first.path : typeof first === 'number') note(first.host ?? first.hostname ?? args[1] ?? '127.0.0.1');
    return connect.apply(this, args);
  };
  for (const name of ['send', 'connect']) {
    const call = dgram.Socket.prototype[name];
    dgram.Socket.prototype[name] = function (...args) { note('udp ' + args.filter((one) => typeof one === 'string').at(-1)); return call.apply(this, args); };
  }
  for (const table of [dns, dns.promises]) for (const name of ['lookup', 'resolve', 'resolve4', 'resolve6', 'resolveTxt', 'reverse', 'lookupService']) {
    const call = table[name];
    table[name] = function (host, ...rest) { note('name ' + host); return call.call(this, host, ...rest); };
  }
  syncBuiltinESMExports();`;

/** Whether strace may trace here; in some containers it may not. */
const traced =
  spawnSync('strace', ['-f', '--seccomp-bpf', '-qq', '-e', 'trace=connect', '-o', log, process.execPath, '-e', '0'])
    .status === 0;
rmSync(log, { force: true });
const calls = 'trace=connect,sendto,sendmsg,sendmmsg';

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const node = [program, ...args];
  const [command, ...rest] = traced
    ? ['strace', '-f', '--seccomp-bpf', '-qq', '-A', '-e', calls, '-o', log, process.execPath, ...node]
    : [process.execPath, ...node];
  const options = traced ? {} : { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
  return spawn(command!, rest, {
    cwd: desk.folder,
    // A hub that is far away: whoever asks for it is seen. The name is one that no one can have.
    env: { ...process.env, HF_ENDPOINT: 'https://hub.invalid', ...options, LOAM_HOME: desk.home, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function run(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<void> {
  const child = start([...args, '--json'], env);
  let told = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
  }
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code, 0, `${args.join(' ')}: ${told}`);
}

/** Where connections went since the last look, without those to this device. */
function elsewhere(): { all: number; others: string[] } {
  const lines = existsSync(log)
    ? readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : [];
  rmSync(log, { force: true });
  const to = lines.flatMap((line) => {
    if (!traced) return [line];
    const [, family] = /sa_family=(AF_\w+)/.exec(line) ?? [];
    if (family !== 'AF_INET' && family !== 'AF_INET6') return [];
    return [/(?:inet_addr\(|AF_INET6, )"([^"]+)"/.exec(line)?.[1] ?? line];
  });
  return {
    all: to.length,
    others: to.filter((one) => !/^(name )?(127(\.\d+){3}|::1|localhost|::ffff:127[.\d]+)$/.test(one)),
  };
}

it('nothing but this device is asked for anything, except for a download that was started', async (t) => {
  const model = await desk.model('tiny.gguf');
  const data = desk.file('data.json', sayings(24));
  let tried = 0;
  const alone = async (...args: string[]) => {
    await run(args);
    assert.deepEqual(elsewhere().others, [], args.join(' '));
    tried++;
  };
  const qlora = ['--method', 'qlora', '--epochs', '1', '--runs', '1', '--lr', '1e-2', '--threads', '1'];
  await alone('models', 'add', model, '--name', 'tiny');
  await alone('tune', data, '--model', 'tiny', '--out', 'a.gguf', ...qlora);
  await alone('data', 'add', data, '--name', 'sayings');
  const more: string[][] = [
    ['doctor'],
    ['models', 'list'],
    ['data', data, '--model', 'tiny'],
    ['redact', data, '--out', 'clean.json'],
    ['eval', data, '--model', 'tiny', '--adapter', 'a.gguf', '--threads', '1'],
    ['chat', 'Say number 3', '--model', 'tiny', '--adapter', 'a.gguf', '--max-tokens', '8'],
    ['probe', data, '--model', 'tiny', '--adapter', 'a.gguf'],
    ['adapters', 'convert', 'a.gguf', '--out', 'peft', '--model', 'tiny'],
    ['adapters', 'list'],
    ['vault', 'status', '--check'],
    ['keys', 'list'],
    ['jobs', 'list'],
  ];
  for (const args of more.slice(0, rounds(2, more.length))) await alone(...args);

  const server = start(['serve', '--port', '0', '--json']);
  after(() => server.kill('SIGKILL'));
  const ready = await new Promise<{ port: number; token: string }>((resolve) => {
    let text = '';
    server.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      const line = text.split('\n').find((one) => one.includes('"ready"') && one.endsWith('}'));
      if (line) resolve(JSON.parse(line) as { port: number; token: string });
    });
  });
  const client = new Client(ready.port, ready.token);
  const { datasets } = await client.ok('GET', '/api/datasets');
  const options = { method: 'qlora', epochs: 1, runs: 1, lr: 1e-2, threads: 1 };
  const job = await client.ok('POST', '/api/jobs', { name: 'me', dataset: datasets[0].id, model: 'tiny', options });
  await client.job(job.id, ({ state }) => state === 'done');
  const messages = [{ role: 'user', content: 'Say number 3' }];
  await client.ok('POST', '/v1/chat/completions', { model: 'me', messages, max_tokens: 4 });
  const [adapter] = (await client.ok('GET', '/api/adapters')).adapters;
  const exported = `/api/adapters/${adapter.id}/versions/${adapter.versions[0].id}/export?confirm=true`;
  assert.equal((await client.send('GET', exported)).status, 200);
  const ended = new Promise((resolve) => server.once('close', resolve));
  // The server itself, also where its parent is strace, which passes no signals on.
  process.kill(JSON.parse(readFileSync(join(desk.home, 'server', 'server.json'), 'utf8')).pid, 'SIGTERM');
  await ended;
  assert.deepEqual(elsewhere().others, [], 'the server');
  tried++;

  // That the recorder sees what there is: a download, of the hub that is named and no other.
  const hub = await HubServer.start(fakeModel(5000), '/own/repo/resolve/main/m.gguf');
  after(() => hub.close());
  const child = start(['models', 'add', 'hub:own/repo/m.gguf', '--name', 'x', '--json'], { HF_ENDPOINT: hub.hub });
  await new Promise((resolve) => child.once('close', resolve));
  const { all, others } = elsewhere();
  assert.ok(all > 0, 'a download is recorded');
  assert.deepEqual(others, []);
  const away = start(['models', 'add', 'hub:own/repo/m.gguf', '--name', 'x', '--json']);
  await new Promise((resolve) => away.once('close', resolve));
  // The name cannot be looked up: the question for it is what there is to see, if the system asks a server for it.
  if (!traced) assert.ok(elsewhere().others.length > 0, 'a connection to elsewhere is recorded');
  t.diagnostic(`campaign 20: tried ${tried + 2}, survived ${tried + 2}${traced ? ', traced by the system' : ''}`);
});
