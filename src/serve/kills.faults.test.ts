import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../base/random.js';
import { type How, rounds } from '../testing/faults.js';
import { adapterOf, tunerOf } from '../testing/jobProcesses.js';
import { addTinyModel, newHome, ServerProcess, sayings } from '../testing/server.js';
import type { Job } from './contract/jobs.js';

/** Campaigns 2 and 4 for jobs: a server that is killed at any of its file operations, or whose disk fails at one and ever after. */

const skip = process.platform !== 'linux' && 'finds the processes in /proc';
const options = { method: 'qlora', lr: 1e-2, patience: 99, runs: 1, threads: 1, epochs: 4 };
const env = { LOAM_CHECKPOINT_SECONDS: '0' };
/** Within so many file operations a server has begun and gone on with a job, and mostly ended it. */
const OPERATIONS = 200;

/** @param at the file operation at which the server dies, or from which on its disk fails */
function broken(home: string, at: number, how: How): NodeJS.ProcessEnv {
  return {
    ...env,
    LOAM_TEST_FAULTS: JSON.stringify({ root: home, at, how, from: how !== 'kill' }),
    NODE_OPTIONS: `--import=${new URL('../testing/faults.js', import.meta.url).href}`,
  };
}

const isOver = ({ state }: Job) => state === 'done' || state === 'failed' || state === 'cancelled';

/** Until the server has gone, the job is over, or it says that the disk is in its way. @returns whether it is over */
async function untilStuck({ child, client }: ServerProcess, id: string): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    const job = await client.ok('GET', `/api/jobs/${id}`).catch(() => undefined);
    if (job && isOver(job)) return true;
    if (job?.state === 'interrupted' && !job.message.startsWith('interrupted')) return false;
    await sleep(50);
  }
  return false;
}

it('campaigns 2 and 4 (jobs): one training makes one version, whenever its server is killed or its disk fails', {
  skip,
}, async (t) => {
  const home = newHome();
  await addTinyModel(home, { layers: 2 });
  let server = await ServerProcess.start(home, env);
  const { id: dataset } = await server.client.ok('POST', '/api/datasets?name=sayings', { examples: sayings(12) });
  const begin = async (name: string) =>
    (await server.client.ok('POST', '/api/jobs', { name, dataset, model: 'tiny', options })).id as string;
  await server.client.job(await begin('whole'), isOver);
  const undisturbed = await adapterOf(server.client, 'whole');
  const random = new Random(2);
  let [tried, killed, failed] = [0, 0, 0];
  for (let i = 0; i < rounds(1, 40); i++) {
    const name = `k${String(i).padStart(4, '0')}`;
    const id = await begin(name);
    const kills = rounds(4, 20);
    for (let kill = 0; kill < kills; kill++) {
      await server.end('SIGKILL');
      const how: How = kill % 4 === 3 ? 'ENOSPC' : 'kill';
      const at = 1 + random.below(OPERATIONS);
      tried++;
      const next = await ServerProcess.start(home, broken(home, at, how)).catch((error: Error) => error);
      if (next instanceof Error) {
        // It died, or was refused by its disk, before it served.
        assert.match(next.message, how === 'kill' ? /ended \(null\)/ : /the disk is full|ended \(1\)/);
        killed++;
        continue;
      }
      server = next;
      if (kill % 4 === 1) {
        // Its tuner as well, at some moment.
        await sleep(random.below(1500));
        try {
          process.kill(tunerOf(server), 'SIGKILL');
        } catch {
          // Not begun, or over.
        }
      }
      if (await untilStuck(server, id)) kill = kills;
      if (server.child.signalCode !== null) killed++;
      else {
        failed++;
        assert.equal(server.child.exitCode, null, `the server ended at operation ${at} (${how}): ${server.output()}`);
      }
      assert.doesNotMatch(server.output(), /bug in Loam/, `${how} at operation ${at}`);
    }
    await server.end('SIGKILL');
    server = await ServerProcess.start(home, env);
    const job: Job = await server.client.job(id, isOver);
    assert.deepEqual([job.state, job.error], ['done', undefined]);
    assert.ok((await adapterOf(server.client, name)) === undisturbed, 'another adapter');
    const { adapters } = await server.client.ok('GET', '/api/adapters');
    const made = adapters.find((adapter: { name: string }) => adapter.name === name);
    assert.equal(made.versions.length, 1, 'one version');
    assert.deepEqual(readdirSync(join(home, 'runs')), [], 'nothing of the run is left');
  }
  await server.end('SIGTERM');
  t.diagnostic(`campaigns 2 and 4 (jobs): tried ${tried} (${killed} killed, ${failed} ran on), survived ${tried}`);
});
