import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { adapterOf, isAlive, tunerOf } from '../testing/jobProcesses.js';
import { addTinyModel, newHome, readEvents, type SentEvent, ServerProcess, sayings } from '../testing/server.js';
import type { Job } from './contract/jobs.js';

/** Campaign 8: jobs whose processes are frozen in each phase, and whose clock goes a day ahead or back. */

const skip = process.platform !== 'linux' && 'finds the processes in /proc';
const options = { method: 'qlora', lr: 1e-2, patience: 99, runs: 1, threads: 1, epochs: 4 };

/** Moments in the life of a job, by its events. */
const phases: Record<string, (event: SentEvent) => boolean> = {
  begin: ({ data }) => data.type === 'state' && data.state === 'running',
  data: ({ data }) => data.type === 'data',
  first: ({ data }) => data.type === 'step',
  train: ({ data }) => data.type === 'step' && data.step >= 4,
  measure: ({ data }) => data.type === 'stage' && data.stage === 'measure',
  probe: ({ data }) => data.type === 'probing',
};

/** The clock of a process and of those that it starts, so many days off. */
function clock(days: number): NodeJS.ProcessEnv {
  const shift = `const Real = Date; const ms = ${days * 86_400_000};
    globalThis.Date = class extends Real {
      constructor(...args) { super(...(args.length > 0 ? args : [Real.now() + ms])); }
      static now() { return Real.now() + ms; }
    };`;
  return days === 0 ? {} : { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(shift)}` };
}

it('campaign 8: a job goes on to the same adapter, once, whatever is frozen and whatever the clock says', {
  skip,
}, async (t) => {
  const home = newHome();
  await addTinyModel(home, { layers: 2 });
  const env = { LOAM_CHECKPOINT_SECONDS: '0' };
  const start = (days = 0) => ServerProcess.start(home, { ...env, ...clock(days) });
  let server = await start();
  const data = sayings(12).map((pair, i) =>
    i < 1 ? { ...pair, output: `Write to person${i}@example${i}.org.` } : pair,
  );
  const { id: dataset } = await server.client.ok('POST', '/api/datasets?name=sayings', { examples: data });
  const begin = async (name: string) =>
    (await server.client.ok('POST', '/api/jobs', { name, dataset, model: 'tiny', options })).id as string;
  const until = (id: string, phase: (event: SentEvent) => boolean) =>
    readEvents(server.client, `/api/jobs/${id}/events`, { until: phase });
  const end = (id: string) => server.client.job(id, ({ state }) => state === 'done' || state === 'failed');
  await end(await begin('whole'));
  const undisturbed = await adapterOf(server.client, 'whole');
  const random = new Random(8);
  const trials = rounds(3, 42);
  const names = Object.keys(phases);
  let survived = 0;
  for (let i = 0; i < trials; i++) {
    const name = `j${String(i).padStart(4, '0')}`;
    const phase = names[(2 * i + Math.floor(i / names.length)) % names.length]!;
    const kind = (['tuner', 'server', 'clock'] as const)[i % 3]!;
    const what = `trial ${i}: ${kind} at ${phase}`;
    const id = await begin(name);
    await until(id, phases[phase]!);
    // Ten minutes once, by hand; what a freeze breaks breaks within seconds.
    const pause = rounds(100 + random.below(300), i === 0 ? 600_000 : 5_000 + random.below(20_000));
    if (kind === 'clock') {
      await server.end('SIGKILL');
      server = await start(i % 2 === 0 ? 1 : -1);
    } else {
      const pid = kind === 'server' ? server.child.pid! : tunerOf(server);
      process.kill(pid, 'SIGSTOP');
      await sleep(pause);
      process.kill(pid, 'SIGCONT');
    }
    const job: Job = await end(id);
    assert.deepEqual([job.state, job.message], ['done', undefined], what);
    assert.ok((await adapterOf(server.client, name)) === undisturbed, `${what}: another adapter`);
    survived++;
  }
  const { adapters } = await server.client.ok('GET', '/api/adapters');
  for (const { name, versions } of adapters) assert.equal(versions.length, 1, `${name} was made twice`);
  assert.equal((await server.client.ok('GET', '/api/jobs')).jobs.length, trials + 1);
  assert.throws(() => tunerOf(server), /no tuner/);
  assert.ok(isAlive(server.child.pid!));
  await server.end('SIGTERM');
  t.diagnostic(`campaign 8: tried ${trials}, survived ${survived}`);
});
