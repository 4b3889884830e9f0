import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { FileFaults } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import type { LoamError } from './errors.js';
import { takeLock, tryLock } from './lock.js';

const root = scratchFolder();
const newFolder = () => mkdtempSync(join(root, 'lock-'));
const skip = !existsSync('/proc/self/stat') && 'needs /proc';

/** Which start of which system this is, as a lock names it. */
function systemOf(): { boot?: string; space?: string } {
  if (skip) return {};
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return { boot, space: readlinkSync('/proc/self/ns/pid') };
}

async function holderOf(path: string) {
  const lock = await tryLock(path);
  assert.ok('heldBy' in lock);
  return [lock.heldBy, lock.doubtful ? 'doubtful' : 'certain'];
}

it('one holder at a time; released, the next may have it', async () => {
  const path = join(newFolder(), 'deep', 'it.lock');
  const first = await tryLock(path);
  assert.ok('release' in first);
  assert.deepEqual(await holderOf(path), [process.pid, 'certain']);
  assert.deepEqual(readdirSync(dirname(path)), ['it.lock']);
  await first.release();
  assert.equal(existsSync(path), false);
  const second = await tryLock(path);
  assert.ok('release' in second);
  // A late second release of the first must not free the second's.
  await first.release();
  assert.equal(existsSync(path), true);
  await second.release();
});

it('holds where the system gives no hard links, as Android does', async (t) => {
  const { link } = promises;
  promises.link = async () => {
    throw Object.assign(new Error('EACCES: permission denied, link'), { code: 'EACCES', syscall: 'link' });
  };
  syncBuiltinESMExports();
  t.after(() => {
    promises.link = link;
    syncBuiltinESMExports();
  });
  const path = join(newFolder(), 'it.lock');
  const first = await tryLock(path);
  assert.ok('release' in first);
  assert.deepEqual(await holderOf(path), [process.pid, 'certain']);
  assert.deepEqual(readdirSync(dirname(path)), ['it.lock']);
  await first.release();
  const second = await tryLock(path);
  assert.ok('release' in second);
  await second.release();
});

it('of many at once exactly one gets a lock that a dead process left', async () => {
  const folder = newFolder();
  const path = join(folder, 'it.lock');
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  writeFileSync(path, JSON.stringify({ pid, host: hostname(), birth: '1', nonce: 'old' }));
  const locks = await Promise.all(Array.from({ length: 20 }, () => tryLock(path)));
  assert.equal(locks.filter((lock) => 'release' in lock).length, 1);
  assert.deepEqual(readdirSync(folder), ['it.lock']);
});

it('a later process with the same number does not hold it', {
  skip: !existsSync('/proc/self/stat') && 'needs /proc',
}, async () => {
  const path = join(newFolder(), 'it.lock');
  writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname(), birth: '1', nonce: 'old' }));
  assert.ok('release' in (await tryLock(path)));
});

it('a killed process that nobody has waited for does not hold it', {
  skip: !existsSync('/proc/self/stat') && 'needs /proc',
}, async () => {
  const path = join(newFolder(), 'it.lock');
  // `sleep` takes the shell's place before the shell's child ends, and never asks for its exit code; the shell might.
  const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const [line] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string];
    const pid = Number(line);
    const fields = () => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
    while (fields()[0] !== 'Z') await new Promise((resolve) => setImmediate(resolve));
    writeFileSync(path, JSON.stringify({ pid, host: hostname(), birth: fields()[19], nonce: 'old' }));
    assert.ok('release' in (await tryLock(path)));
  } finally {
    parent.kill('SIGKILL');
    await once(parent, 'close');
  }
});

/** Looks once a second, by a clock that is moved on. */
function watching(t: TestContext, path: string) {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  return async (seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      now += 1000;
      const lock = await tryLock(path);
      if ('release' in lock) return i + 1;
      assert.ok(lock.doubtful);
    }
    return undefined;
  };
}

const elsewhere = [
  { what: 'another machine', host: 'elsewhere.invalid' },
  { what: 'another start of this machine', host: hostname(), boot: 'another', space: 'pid:[1]' },
  { what: 'another container', host: 'elsewhere.invalid', ...systemOf(), space: 'pid:[1]' },
];
for (const { what, ...of } of elsewhere) {
  it(`the lock of ${what} counts while its holder's heart beats, and for ten seconds at most afterwards`, async (t) => {
    const path = join(newFolder(), 'it.lock');
    const text = JSON.stringify({ pid: process.pid, birth: null, nonce: 'theirs', ...of });
    writeFileSync(path, text);
    const look = watching(t, path);
    for (let beat = 1; beat <= 20; beat++) {
      // Its clock may say anything.
      utimesSync(path, 2_000_000_000 - beat, 2_000_000_000 - beat);
      assert.equal(await look(2), undefined);
    }
    assert.equal(readFileSync(path, 'utf8'), text);
    const seconds = await look(20);
    assert.ok(seconds! >= 5 && seconds! <= 10, `${seconds}`);
  });
}

it('a holder under another host name is found dead or alive by its process', { skip }, async () => {
  const path = join(newFolder(), 'it.lock');
  const first = await tryLock(path);
  assert.ok('release' in first);
  const holder = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...holder, host: 'renamed' }));
  assert.deepEqual(await holderOf(path), [process.pid, 'certain']);
  writeFileSync(path, JSON.stringify({ ...holder, host: 'renamed', birth: '1' }));
  assert.ok('release' in (await tryLock(path)));
});

it('a holder touches its file as long as it has it, and learns when somebody else does', async (t) => {
  const path = join(newFolder(), 'it.lock');
  t.mock.timers.enable({ apis: ['setInterval'] });
  const lock = await tryLock(path);
  assert.ok('release' in lock);
  const beats = async (until: () => boolean) => {
    t.mock.timers.tick(2000);
    while (!until()) await new Promise((resolve) => setImmediate(resolve));
  };
  utimesSync(path, 1, 1);
  await beats(() => statSync(path).mtimeMs > 1000);
  assert.equal(lock.lost.aborted, false);
  {
    let failed = 0;
    using faults = await FileFaults.install(dirname(path), { at: 1, how: 'EMFILE', from: true });
    await beats(() => ++failed > 50 && faults.struck !== undefined);
  }
  assert.equal(lock.lost.aborted, false, 'who cannot look has lost nothing');
  writeFileSync(path, JSON.stringify({ pid: 1, host: 'h', nonce: 'theirs' }));
  await beats(() => lock.lost.aborted);
  await lock.release();
  assert.ok(existsSync(path), 'the lock of another is left alone');
});

it('a lock file that says nothing counts while it is fresh, whatever its time', async (t) => {
  const path = join(newFolder(), 'it.lock');
  writeFileSync(path, '');
  assert.deepEqual(await holderOf(path), [0, 'doubtful']);
  utimesSync(path, 1, 1);
  assert.ok('release' in (await tryLock(path)));
  writeFileSync(path, 'nonsense');
  utimesSync(path, 5_000_000_000, 5_000_000_000);
  assert.ok((await watching(t, path)(10))! <= 10);
});

it('what is no file of ours is passed over, or refused by its name', async () => {
  const path = join(newFolder(), 'it.lock');
  const other = join(dirname(path), 'other');
  writeFileSync(other, 'text');
  symlinkSync(other, path);
  utimesSync(other, 1, 1);
  lutimesSync(path, 1, 1);
  const lock = await tryLock(path);
  assert.ok('release' in lock);
  await lock.release();
  assert.equal(readFileSync(other, 'utf8'), 'text');
  mkdirSync(path);
  utimesSync(path, 1, 1);
  await assert.rejects(tryLock(path), { code: 'unwritable', message: /it\.lock: there is a folder where a lock/ });
});

it('what crashes have left beside a lock holds nobody up, and goes', async () => {
  const folder = newFolder();
  const path = join(folder, 'it.lock');
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  const dead = (nonce: string) => JSON.stringify({ pid, host: hostname(), ...systemOf(), birth: '1', nonce });
  writeFileSync(path, dead('one'));
  // It died while it removed the lock of one; and so did who was to do that for it.
  writeFileSync(`${path}.one.gone`, dead('two'));
  writeFileSync(`${path}.two.gone`, dead('three'));
  writeFileSync(`${path}.four.new`, dead('four'));
  writeFileSync(`${path}.clearing`, '');
  utimesSync(`${path}.clearing`, 5_000_000_000, 5_000_000_000);
  assert.ok('release' in (await tryLock(path)));
  assert.deepEqual(readdirSync(folder), ['it.lock']);
});

it('waiting ends with a sentence that names the holder, the file, and when it may be removed', async () => {
  const path = join(newFolder(), 'it.lock');
  const lock = await takeLock(path, 'is at work');
  await assert.rejects(takeLock(path, 'is at work', { patienceMs: 20 }), (error: LoamError) => {
    assert.equal(error.code, 'busy');
    const said = `${path}: process ${process.pid} is at work; wait for it or end it; if there is no such process`;
    return error.message.startsWith(said) && error.message.endsWith('delete this file.');
  });
  const stop = new AbortController();
  const waiting = takeLock(path, 'is at work', { patienceMs: 60_000, signal: stop.signal, onWait: () => stop.abort() });
  await assert.rejects(waiting, { code: 'stopped' });
  const next = takeLock(path, 'is at work', { patienceMs: 60_000, onWait: () => void lock.release() });
  await (await next).release();
});
