import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { afterSilence, afterWork, environmentOf, HELD_UP } from './child.js';

const kinds = ['trial', 'worker', 'python', 'desktop'] as const;

it('a child gets what its kind needs, and no token, passphrase or key of ours', (t) => {
  const secret = 'a-secret';
  const secrets = ['HF_TOKEN', 'LOAM_PASSPHRASE', 'LOAM_NEW_PASSPHRASE', 'LOAM_API_KEY', 'AWS_SECRET_ACCESS_KEY'];
  const needed = { PATH: '/bin', LC_ALL: 'C', LOAM_HOME: '/home', PIP_INDEX_URL: 'http://index', DISPLAY: ':0' };
  const before = { ...process.env };
  t.after(() => {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  });
  for (const name of secrets) process.env[name] = secret;
  Object.assign(process.env, needed);
  for (const kind of kinds) {
    const given = environmentOf(kind, { MORE: 'more' });
    assert.deepEqual(
      Object.entries(given).filter(([name, value]) => value === secret || secrets.includes(name)),
      [],
    );
    assert.deepEqual([given.PATH, given.LC_ALL, given.MORE], ['/bin', 'C', 'more']);
    const [, worker, python, desktop] = kinds.map((one) => (one === kind ? 'yes' : undefined));
    assert.equal(given.LOAM_HOME, worker && '/home');
    assert.equal(given.PIP_INDEX_URL, python && 'http://index');
    assert.equal(given.DISPLAY, desktop && ':0');
  }
});

it('no process is started with the whole environment', () => {
  const src = fileURLToPath(new URL('../../src/', import.meta.url));
  const files = (folder: string): string[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? files(path) : /\.tsx?$/.test(name) && !/\.test\./.test(name) ? [path] : [];
    });
  const product = files(src).filter((path) => !path.includes('/testing/'));
  const calls = product.flatMap((path) => {
    const text = readFileSync(path, 'utf8');
    return [...text.matchAll(/(?<![.\w])(?:spawn|fork|execFile|exec)(?:Sync)?\(|\bnew Worker\(/g)].map(({ index }) => ({
      path,
      call: text.slice(index, index + 400),
    }));
  });
  assert.ok(calls.length >= 4);
  // The process of a command is the command: it has what whoever gave the command has.
  const others = calls.filter(({ path }) => !path.endsWith('cli/commandProcess.ts'));
  assert.equal(others.length, calls.length - 1);
  for (const { path, call } of others) {
    assert.match(call, /\benv\b/, path);
    assert.doesNotMatch(call, /env: \{? ?\.*process\.env/, path);
  }
});

it('a child that gets nothing of the processor has longer than its time', {
  skip: process.platform !== 'linux' && 'reads /proc',
}, async () => {
  const ms = 100;
  const time = async (stopped: boolean) => {
    const child = spawn(process.execPath, ['-e', "process.stdout.write('.'); for (;;);"], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      await once(child.stdout, 'data');
      if (stopped) child.kill('SIGSTOP');
      const began = performance.now();
      await new Promise<void>((resolve) => void afterWork(child, ms, resolve));
      return performance.now() - began;
    } finally {
      child.kill('SIGKILL');
    }
  };
  // A tick may come early by a millisecond.
  assert.ok((await time(true)) > 0.9 * HELD_UP * ms);
  assert.ok((await time(false)) > 0.9 * ms);
});

it('a child is silent when nothing has come from it in all of a time', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  // No process has this number, so that the clock alone counts.
  const child = Object.assign(new EventEmitter(), { pid: 2 ** 31 }) as unknown as ChildProcess;
  let times = 0;
  afterSilence(child, 1000, () => times++)();
  t.mock.timers.tick(5000);
  afterSilence(child, 1000, () => times++);
  t.mock.timers.tick(900);
  child.emit('message', 'beat');
  t.mock.timers.tick(900);
  assert.equal(times, 0);
  t.mock.timers.tick(100);
  assert.deepEqual([times, child.listenerCount('message')], [1, 0]);
});

it('a child that computes without end is silent, a frozen one is not', {
  skip: process.platform !== 'linux' && 'asks /proc',
}, async (t) => {
  const child = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  t.after(() => child.kill('SIGKILL'));
  await new Promise<void>((resolve) => afterSilence(child, 400, resolve));
  child.kill('SIGSTOP');
  let times = 0;
  t.mock.timers.enable({ apis: ['setInterval'] });
  afterSilence(child, 1000, () => times++);
  // What it had of the processor until now may count once.
  t.mock.timers.tick(5000);
  assert.equal(times, 0);
});
