import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Desk } from '../testing/cli.js';
import { resultOf } from '../testing/runLoam.js';
import { ServerProcess } from '../testing/server.js';

/** `loam phone` in a Termux that scripts stand in for: they write down how they were called. */

const desk = new Desk();
const person = desk.newFolder("per son's");
const prefix = desk.newFolder('usr');
const bin = desk.newFolder('usr/bin');
symlinkSync('/bin/sh', join(bin, 'sh'));
const log = join(prefix, 'calls');
for (const name of [
  'termux-job-scheduler',
  'termux-open-url',
  'termux-share',
  'termux-wake-lock',
  'termux-wake-unlock',
]) {
  writeFileSync(
    join(bin, name),
    `#!/bin/sh\nprintf '%s' ${name} >> '${log}'; for a; do printf ' %s' "$a" >> '${log}'; done; echo >> '${log}'\n`,
  );
  chmodSync(join(bin, name), 0o755);
}
writeFileSync(join(bin, 'pm'), '#!/bin/sh\nexit 1\n');
chmodSync(join(bin, 'pm'), 0o755);
const env = { TERMUX_VERSION: '0.118.3', PREFIX: prefix, HOME: person, PATH: `${bin}:${process.env.PATH}` };
const home = join(person, 'loam home');
const calls = () => readFileSync(log, 'utf8').trim().split('\n');
const phone = (...args: string[]) => desk.run(['phone', ...args, '--json'], { home, env });
const skip = process.platform === 'linux' ? false : 'Termux is Linux';

async function serverInfo(): Promise<{ pid: number; port: number }> {
  const path = join(home, 'server', 'server.json');
  for (let i = 0; i < 600 && !existsSync(path); i++) await sleep(50);
  return JSON.parse(readFileSync(path, 'utf8'));
}

describe('loam phone', { skip }, () => {
  it('starts the server with the phone, once, and takes that back', async () => {
    const run = await phone('start');
    const boot = join(person, '.termux', 'boot', 'loam');
    assert.deepEqual([resultOf(run).boot, resultOf(run).scheduled], [boot, true]);
    assert.match(run.stderr, /Termux:Boot/);
    assert.equal(statSync(boot).mode & 0o777, 0o700);
    const script = join(home, 'phone', 'start');
    assert.ok(
      calls()
        .at(-1)!
        .startsWith(`termux-job-scheduler --job-id 4184 --script ${script} --period-ms 900000 --persisted true`),
    );
    // As Android runs it: an environment of its own.
    const start = () => execFileSync(boot, { env: { PATH: process.env.PATH, HOME: person }, stdio: 'ignore' });
    start();
    const { pid } = await serverInfo();
    try {
      execFileSync(script, { env: { PATH: process.env.PATH }, stdio: 'ignore' });
      assert.equal((await serverInfo()).pid, pid);
    } finally {
      process.kill(pid, 'SIGTERM');
      while (existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')))
        await sleep(50);
    }
    resultOf(await phone('shortcut'));
    resultOf(await phone('remove'));
    assert.equal(calls().at(-1), 'termux-job-scheduler --job-id 4184 --cancel');
    for (const path of [boot, script, join(person, '.shortcuts', 'Loam')]) assert.equal(existsSync(path), false, path);
  });

  it('writes a button that opens the page of the server that runs', async () => {
    const { path } = resultOf(await phone('shortcut'));
    assert.equal((await phone('open')).code, 1);
    const server = await ServerProcess.start(home, env);
    execFileSync(path as string, { env: { ...process.env, ...env }, stdio: 'ignore' });
    const link = /^termux-open-url (http:\/\/127\.0\.0\.1:\d+)\/#code=([\w-]{32})$/.exec(calls().at(-1)!);
    assert.ok(link, calls().at(-1));
    assert.equal(link[1], server.client.base);
    const { pairing } = await server.client.ok('POST', '/api/pairing', { code: link[2] });
    assert.ok(server.link.endsWith(pairing));
    assert.equal((await server.client.send('POST', '/api/pairing', { code: link[2] })).status, 401);
    await server.end('SIGTERM');
  });

  it('shares a file that is there', async () => {
    const file = desk.file('--a file.gguf', 'x');
    resultOf(await phone('share', file));
    assert.equal(calls().at(-1), `termux-share -a send ${file}`);
    assert.equal((await phone('share', join(person, 'none'))).code, 1);
  });

  it('is refused where Termux would not find it', async () => {
    const run = await desk.run(['phone', 'start', '--json'], { home, env: { HOME: person, PREFIX: '' } });
    assert.equal(run.code, 1);
    assert.match(run.stderr, /this is not Termux/);
  });
});
