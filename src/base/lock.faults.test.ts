import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { rounds } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { Random } from './random.js';

/** Campaign 9: owners of a lock that are killed, frozen and misnamed at any moment. There is one owner, and a dead one is followed. */

const skip = process.platform !== 'linux' && 'asks /proc whether a process is stopped';
const program = fileURLToPath(new URL('../testing/lockOwner.js', import.meta.url));
/** Milliseconds within which somebody owns the lock again. */
const TAKEOVER_MS = 10_000;

class Owner {
  private readonly child: ChildProcess;
  /** How often it has owned the lock. */
  owned = 0;
  second = false;

  constructor(path: string, name: string, changed: () => void) {
    this.child = spawn(process.execPath, [program, path, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.owned += text.split('owns').length - 1;
      if (text.includes('SECOND')) this.second = true;
      changed();
    });
  }

  send(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves once it stands still. */
  async stop(): Promise<void> {
    this.send('SIGSTOP');
    // A tracer, as of scripts/connections.mjs, shows as a t.
    while (!/\) [Tt] /.test(readFileSync(`/proc/${this.child.pid}/stat`, 'latin1'))) await sleep(1);
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}

it('campaign 9: a lock has one owner, whoever is killed, frozen or misnamed, and a dead one is followed within 10 s', {
  skip,
}, async (t) => {
  const path = join(scratchFolder(), 'it.lock');
  const name = `loam-test-${randomBytes(8).toString('hex')}`;
  const random = new Random(9);
  const trials = rounds(25, 1500);
  let wake = () => {};
  const start = () => new Owner(path, name, () => wake());
  const owners = Array.from({ length: 3 }, start);
  t.after(async () => {
    for (const owner of owners) await owner.kill();
  });
  const owned = () => owners.reduce((sum, owner) => sum + owner.owned, 0);
  /** Somebody owns it from now on. */
  const next = async (what: string) => {
    const before = owned();
    const end = performance.now() + TAKEOVER_MS;
    while (owned() === before) {
      const left = end - performance.now();
      assert.ok(left > 0, `${what}: nobody has the lock after ${TAKEOVER_MS} ms: ${readdirSync(dirname(path))}`);
      await Promise.race([new Promise<void>((resolve) => (wake = resolve)), sleep(left)]);
    }
    assert.ok(!owners.some(({ second }) => second), `${what}: two owners`);
  };
  await next('start');
  let survived = 0;
  for (let i = 0; i < trials; i++) {
    const which = random.below(owners.length);
    const owner = owners[which]!;
    const kind = random.below(5);
    const what = `trial ${i}, kind ${kind}`;
    await sleep(random.uniform() * 40);
    if (kind === 0) {
      // Frozen for a moment in which others are at work, at whatever it was.
      owner.send('SIGSTOP');
      await sleep(random.uniform() * 150);
      owner.send('SIGCONT');
    } else {
      await owner.kill();
      if (kind > 1) {
        // Nobody may take it over meanwhile: it would be another's lock that is changed.
        const others = owners.filter((one) => one !== owner);
        await Promise.all(others.map((one) => one.stop()));
        misname(path, kind, random);
        for (const one of others) one.send('SIGCONT');
      }
      owners[which] = start();
    }
    await next(what);
    survived++;
  }
  for (const owner of owners.splice(0)) await owner.kill();
  // A later process with nobody beside it leaves the lock and nothing else, but for what it is killed over itself.
  const last = start();
  owners.push(last);
  await next('the last');
  await last.kill();
  const left = readdirSync(dirname(path)).filter((name) => name !== basename(path));
  assert.ok(left.length <= 1, left.join(', '));
  t.diagnostic(`campaign 9: tried ${trials}, survived ${survived}`);
});

/** What a dead owner has left is changed: another host name, a reused process number, a time far off. */
function misname(path: string, kind: number, random: Random): void {
  let holder: { pid: number };
  try {
    holder = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    // Nobody has it.
    return;
  }
  if (existsSync(`/proc/${holder.pid}`)) return;
  const changed = [{ host: `host-${random.below(9)}` }, { pid: process.pid }, { birth: '1' }][kind - 2];
  writeFileSync(path, JSON.stringify({ ...holder, ...changed }));
  const time = Date.now() / 1000 + (random.below(2) === 0 ? 86_400 : -86_400);
  utimesSync(path, time, time);
}
