import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { adapterOf, tunerOf } from '../testing/jobProcesses.js';
import { addTinyModel, newHome, readEvents, type SentEvent, ServerProcess, sayings } from '../testing/server.js';
import { allRules, contentPhone, disturbances, Simulator } from '../testing/simulator.js';

/** Campaign 21: a phone that is unplugged, gets hot, is used, killed and started again while a job with rules runs on it. */

const skip = process.platform !== 'linux' && 'finds the processes in /proc';
const options = { method: 'qlora', lr: 1e-2, patience: 99, runs: 1, threads: 1, epochs: 4 };

it('campaign 21: a job waits for its device, says why, and goes on to the same adapter', { skip }, async (t) => {
  const home = newHome();
  await addTinyModel(home, { layers: 2 });
  const simulator = new Simulator(contentPhone);
  const env = { LOAM_CHECKPOINT_SECONDS: '0', ...simulator.env };
  let server = await ServerProcess.start(home, env);
  const { id: dataset } = await server.client.ok('POST', '/api/datasets?name=sayings', { examples: sayings(12) });
  const begin = async (name: string, more: object = {}) =>
    (await server.client.ok('POST', '/api/jobs', { name, dataset, model: 'tiny', options: { ...options, ...more } }))
      .id as string;
  const end = (id: string) => server.client.job(id, ({ state }) => state === 'done' || state === 'failed');
  const until = (id: string, moment: (event: SentEvent) => boolean) =>
    readEvents(server.client, `/api/jobs/${id}/events`, { until: moment });
  await end(await begin('whole'));
  const undisturbed = await adapterOf(server.client, 'whole');
  const random = new Random(21);
  const kinds = Object.keys(disturbances) as (keyof typeof disturbances)[];
  const trials = rounds(kinds.length, 120);
  let waited = 0;
  for (let i = 0; i < trials; i++) {
    const name = `r${String(i).padStart(4, '0')}`;
    const kind = kinds[i % kinds.length]!;
    const [change, why] = disturbances[kind];
    // Half of them by the rules for the device, half by the job's own.
    const own = i % 2 === Math.floor(i / kinds.length) % 2;
    await server.client.ok('POST', '/api/rules', own ? {} : allRules);
    const id = await begin(name, own ? allRules : {});
    const step = random.below(9);
    const what = `trial ${i}: ${kind} at step ${step}`;
    await until(id, ({ data }) => (step === 0 ? data.state === 'running' : data.type === 'step' && data.step >= step));
    simulator.set(change);
    const held = await server.client.job(id, ({ state }) => state !== 'running' && state !== 'queued');
    if (held.state === 'waiting') {
      waited++;
      assert.match(held.message!, why, what);
      assert.ok(held.causes!.length > 0, what);
      assert.throws(() => tunerOf(server), /no tuner/, what);
      // Beside that, it is killed, or the phone starts again, with its clock where it was or not.
      if (i % 3 === 1) {
        await server.end(i % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
        server = await ServerProcess.start(home, env);
        await server.client.job(id, ({ state, message }) => state === 'waiting' && message === held.message);
      }
    }
    simulator.set({ ...contentPhone, at: `2026-11-${10 + (i % 10)}T10:00:00` });
    if (i % 3 === 2) {
      await until(id, ({ data }) => data.state === 'running' || data.state === 'done').catch(() => []);
      await server.end('SIGKILL');
      server = await ServerProcess.start(home, env);
    }
    const job = await end(id);
    assert.deepEqual([job.state, job.message], ['done', undefined], what);
    assert.ok((await adapterOf(server.client, name)) === undisturbed, `${what}: another adapter`);
  }
  t.diagnostic(`${trials} of ${trials} came to the same adapter; ${waited} of them had waited`);
  assert.ok(waited > trials / 2, `${waited} waited`);
  const names = simulator.actions.map(([action]) => action);
  assert.ok(
    names.includes('keepAwake') &&
      names.filter((one) => one === 'sleep').length <= names.filter((one) => one === 'keepAwake').length,
  );
});
