import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Desk } from '../testing/cli.js';
import { type LoamRun, resultOf } from '../testing/runLoam.js';
import { ServerProcess } from '../testing/server.js';
import { contentPhone, Simulator } from '../testing/simulator.js';

/** `loam doctor` on a simulated phone: every obstacle that a device can tell of, and what --fix does. */

const desk = new Desk();
const android = {
  level: 34,
  phantomLimit: 'off',
  batteryOptimised: 'off',
  programs: { wakeLock: true, api: true, scheduler: true, boot: true },
} as const;
const disk = { free: 20e9, inMemory: false, shared: false };
const { at: _, ...now } = contentPhone;
const phone = { ...now, android, places: { '/': disk } };

const found = (run: LoamRun) =>
  (resultOf(run).findings as { code: string; fixable: boolean }[]).map(({ code }) => code);
/** What this machine itself is like is no matter here. */
const doctor = async (simulator: Simulator, ...more: string[]) =>
  await desk.run(['doctor', '--json', ...more], { env: simulator.env });

describe('loam doctor', () => {
  it('finds nothing in the way of a phone that is set up', async () => {
    const run = await doctor(new Simulator(phone));
    assert.deepEqual(found(run), []);
    assert.match(run.stderr, /^power +battery at 80 %, 30 °C, charging, processor at 50 °C$/m);
    assert.match(run.stderr, /^nothing is in the way$/m);
  });

  it('tells everything that is, the gravest first, with what to do', async () => {
    const simulator = new Simulator({
      at: '1999-01-01T00:00:00',
      battery: { percent: 7, charging: false, celsius: 47 },
      freeMemory: 2e8,
      android: {
        level: 35,
        phantomLimit: 'on',
        batteryOptimised: 'unknown',
        programs: { wakeLock: false, api: false, scheduler: false, boot: false },
      },
      places: { [desk.home]: { free: 1e6, inMemory: true, shared: true } },
    });
    const run = await doctor(simulator, '--fix');
    const codes = found(run);
    const kills = ['phantom-processes', 'no-wake-lock', 'low-memory', 'low-storage', 'low-battery', 'home-in-memory'];
    assert.deepEqual(codes.slice(0, kills.length), kills);
    assert.deepEqual(codes.slice(kills.length), ['hot', 'shared-home', 'no-termux-api', 'clock', 'battery-optimised']);
    assert.equal((resultOf(run).obstacles as string[]).length, codes.length - 1);
    assert.match(run.stderr, /to look at yourself.*\n.*may put Termux to sleep/);
    // What a person has to do, on the page where it is done.
    assert.deepEqual(
      simulator.actions.map(([name, what]) => `${name} ${what}`),
      ['settings developer', 'settings date', 'settings battery'],
    );
    assert.equal((resultOf(run).fixed as string[]).length, 3);
  });

  it('takes a model in that lies on shared storage', async () => {
    const card = desk.newFolder('sdcard');
    const file = await desk.model('sdcard/mine.gguf');
    const home = desk.newFolder('with model');
    const simulator = new Simulator({ ...phone, places: { [card]: { shared: true }, '/': disk } });
    const options = { home, env: simulator.env };
    resultOf(await desk.run(['models', 'add', file, '--name', 'mine', '--json'], options));
    assert.deepEqual(found(await desk.run(['doctor', '--json'], options)), ['shared-models']);
    const fixed = await desk.run(['doctor', '--fix', '--json'], options);
    assert.deepEqual(found(fixed), []);
    assert.deepEqual(resultOf(fixed).fixed, ['shared-models: the model mine is in LOAM_HOME now']);
    const copy = join(home, 'models', 'added', 'mine.gguf');
    assert.ok(readFileSync(copy).equals(readFileSync(file)), 'the other stays');
    assert.deepEqual(resultOf(await desk.run(['doctor', '--fix', '--json'], options)).fixed, []);
    // It is Loam's own file now, and goes with its name.
    assert.equal(resultOf(await desk.run(['models', 'rm', 'mine', '--json'], options)).kept, null);
    assert.deepEqual([existsSync(copy), existsSync(file)], [false, true]);
  });

  it('looks at the vault, and at the server that runs', async () => {
    const home = desk.newFolder('served');
    const simulator = new Simulator(phone);
    const server = await ServerProcess.start(home, simulator.env);
    assert.deepEqual(found(await desk.run(['doctor', '--json'], { home, env: simulator.env })), []);
    await server.client.ok('POST', '/api/vault/passphrase', { next: 'correct horse' });
    assert.deepEqual(found(await desk.run(['doctor', '--json'], { home, env: simulator.env })), ['locked-vault']);
    process.kill(server.child.pid!, 'SIGSTOP');
    const silent = await desk.run(['doctor', '--json'], { home, env: simulator.env });
    process.kill(server.child.pid!, 'SIGCONT');
    assert.deepEqual(found(silent), ['locked-vault', 'silent-server']);
  });
});
