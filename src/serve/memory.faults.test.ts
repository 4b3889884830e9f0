import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { adapterOf, isAlive, tunerOf } from '../testing/jobProcesses.js';
import { runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import { addTinyModel, newHome, ServerProcess, sayings } from '../testing/server.js';
import type { Job } from './contract/jobs.js';

/** Campaign 10: less memory than training needs, and a tuner that the system ends because memory is short. */

const skip = process.platform !== 'linux' && 'memory and processes are found in /proc';
/** What a run may take of what it was quoted. */
const PEAK = 1.15;
/** Milliseconds within which the server answers, in the long form, which has the machine to itself. */
const ANSWER_MS = 1000;

/** A device with so much free memory. */
function withFree(bytes: number): NodeJS.ProcessEnv {
  const hook = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const real = fs.readFileSync;
    fs.readFileSync = (path, ...rest) => {
      const text = real(path, ...rest);
      if (String(path) !== '/proc/meminfo') return text;
      return String(text).replace(/^MemAvailable: .*$/m, 'MemAvailable: ${Math.floor(bytes / 1024)} kB');
    };
    syncBuiltinESMExports();`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
}

const events = (stdout: string) =>
  stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

it('campaign 10: too little memory is refused with figures, a run stays within its quote, and a tuner that is killed is followed', {
  skip,
}, async (t) => {
  const home = newHome();
  await addTinyModel(home, { layers: 2 });
  const random = new Random(10);
  const data = join(scratchFolder(), 'sayings.json');
  writeFileSync(data, JSON.stringify(sayings(12)));
  const out = join(scratchFolder(), 'a.gguf');
  const flags = '--model tiny --method qlora --lr 1e-2 --epochs 1 --runs 1 --threads 1 --layers all --json'.split(' ');
  const tune = (free: number) => runLoam(['tune', data, ...flags, '--out', out], { home, env: withFree(free) });
  let tried = 0;
  let survived = 0;

  const { code, stdout, stderr } = await tune(4 * 2 ** 30);
  assert.equal(code, 0, stderr);
  const { quoted, truth } = events(stdout).find(({ type }) => type === 'result').quote;
  assert.ok(truth.memoryBytes <= PEAK * quoted.memoryBytes, `${truth.memoryBytes} of ${quoted.memoryBytes}`);
  tried++;
  survived++;
  for (let i = 0; i < rounds(1, 20); i++) {
    tried++;
    // Less than what is to stay free for everything else.
    const refused = await tune(random.below(60 << 20));
    assert.equal(refused.code, 1, refused.stdout);
    const { code: kind, message } = events(refused.stdout).at(-1);
    assert.equal(kind, 'out-of-memory', message);
    assert.match(message, /\d+(\.\d+)? [MG]B.*\d+(\.\d+)? [MG]B/s);
    survived++;
  }

  const server = await ServerProcess.start(home, { LOAM_CHECKPOINT_SECONDS: '0' });
  const { client } = server;
  const { id: dataset } = await client.ok('POST', '/api/datasets?name=sayings', { examples: sayings(12) });
  const options = { method: 'qlora', lr: 1e-2, patience: 99, runs: 1, threads: 1, epochs: 4 };
  const begin = async (name: string) =>
    (await client.ok('POST', '/api/jobs', { name, dataset, model: 'tiny', options })).id as string;
  const ended = (id: string) => client.job(id, ({ state }) => state === 'done' || state === 'failed');
  await ended(await begin('whole'));
  const undisturbed = await adapterOf(client, 'whole');
  let slowest = 0;
  let asking = true;
  const asked = (async () => {
    while (asking) {
      const before = performance.now();
      await client.ok('GET', '/api/status');
      slowest = Math.max(slowest, performance.now() - before);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  for (let i = 0; i < rounds(1, 40); i++) {
    tried++;
    const name = `k${String(i).padStart(4, '0')}`;
    const id = await begin(name);
    const at = 1 + random.below(6);
    await client.job(id, (job: Job) => job.curve.train.length >= at);
    // As the kernel does it (oom_score_adj makes the tuner the first to go).
    const tuner = tunerOf(server);
    process.kill(tuner, 'SIGKILL');
    const job = await ended(id);
    assert.deepEqual([job.state, job.error], ['done', undefined], `killed at step ${at}`);
    assert.equal(isAlive(tuner), false);
    assert.ok((await adapterOf(client, name)) === undisturbed, `killed at step ${at}: another adapter`);
    survived++;
  }
  asking = false;
  await asked;
  if (rounds(0, 1) === 1) assert.ok(slowest <= ANSWER_MS, `the server took ${slowest} ms to answer`);
  const { adapters } = await client.ok('GET', '/api/adapters');
  for (const { name, versions } of adapters) assert.equal(versions.length, 1, `${name} was made twice`);
  assert.ok(isAlive(server.child.pid!));
  await server.end('SIGTERM');
  t.diagnostic(`campaign 10: tried ${tried}, survived ${survived}; slowest answer ${Math.round(slowest)} ms`);
});
