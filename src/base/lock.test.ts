import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { tryLock } from './lock.js';

const root = scratchFolder();
const newFolder = () => mkdtempSync(join(root, 'lock-'));

it('one holder at a time; released, the next may have it', async () => {
  const path = join(newFolder(), 'deep', 'it.lock');
  const first = await tryLock(path);
  assert.ok('release' in first);
  assert.deepEqual(await tryLock(path), { heldBy: process.pid });
  await first.release();
  assert.equal(existsSync(path), false);
  const second = await tryLock(path);
  assert.ok('release' in second);
  // A late second release of the first must not free the second's.
  await first.release();
  assert.equal(existsSync(path), true);
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
  // `sleep` takes the shell's place and never asks for the exit code of the shell's child.
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
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

it("another machine's lock counts", async () => {
  const path = join(newFolder(), 'it.lock');
  const text = JSON.stringify({ pid: 1, host: 'elsewhere.invalid', birth: null, nonce: 'theirs' });
  writeFileSync(path, text);
  assert.deepEqual(await tryLock(path), { heldBy: 1 });
  assert.equal(readFileSync(path, 'utf8'), text);
});

it('a lock file that says nothing counts while it is fresh', async () => {
  const path = join(newFolder(), 'it.lock');
  writeFileSync(path, '');
  assert.deepEqual(await tryLock(path), { heldBy: 0 });
  utimesSync(path, 1, 1);
  assert.ok('release' in (await tryLock(path)));
});
