import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { adapterOf, isAlive, tunerOf } from '../testing/jobProcesses.js';
import { runLoam } from '../testing/runLoam.js';
import {
  addTinyModel,
  type Client,
  filesWith,
  newHome,
  readEvents,
  ServerProcess,
  sayings,
} from '../testing/server.js';

/** Jobs on real processes: `loam serve` and the tuner it starts are paused, killed and started again. */

const skip = process.platform === 'linux' ? false : 'finds the processes in /proc';
/** A checkpoint after every step; a killed run is begun again at once. */
const env = { LOAM_CHECKPOINT_SECONDS: '0' };
const canary = 'Zuckerwatte-7319-Kanarienvogel';

const home = newHome();
await addTinyModel(home, { layers: 2 });
const options = { method: 'qlora', lr: 1e-2, patience: 99, runs: 1, threads: 1, epochs: 4 };

async function newJob(client: Client, dataset: string, name: string, more: object = {}): Promise<string> {
  const job = await client.ok('POST', '/api/jobs', { name, dataset, model: 'tiny', options: { ...options, ...more } });
  return job.id as string;
}
let server = await ServerProcess.start(home, env);
let { client } = server;
const examples = sayings(32).map((pair, i) => (i === 7 ? { ...pair, output: `the secret is ${canary}` } : pair));
const { id: dataset } = await client.ok('POST', '/api/datasets?name=sayings', { examples });

describe('a job', { skip }, () => {
  let undisturbed: string;

  it('has its price told before anything has ever run', async () => {
    const quote = await client.ok('POST', '/api/quote', { dataset, model: 'tiny', options });
    assert.ok(quote.seconds > 0 && quote.memoryBytes > 0 && quote.diskBytes > 0, JSON.stringify(quote));
    assert.equal(quote.layers, 2);
  });

  it('runs to its end, tells of it in order, and its adapter is in use', async () => {
    const id = await newJob(client, dataset, 'whole');
    const events = await readEvents(client, `/api/jobs/${id}/events`);
    const job = await client.job(id, ({ state }) => state === 'done');
    assert.ok(job.result!.nll.adapted < job.result!.nll.base);
    const steps = events.filter(({ data }) => data.type === 'step').map(({ data }) => data.step as number);
    assert.deepEqual(
      steps,
      Array.from({ length: job.result!.steps! }, (_, i) => i + 1),
    );
    assert.deepEqual(
      job.curve.train.map(([step]) => step),
      steps,
    );
    const numbers = events.flatMap(({ id: number }) => (number === undefined ? [] : [Number(number)]));
    assert.deepEqual(
      numbers,
      Array.from({ length: numbers.length }, (_, i) => i + 1),
    );
    // Whoever comes later gets the same from any place on.
    const later = await readEvents(client, `/api/jobs/${id}/events`, { lastId: '5' });
    const kept = events.filter((event) => Number(event.id) > 5);
    assert.deepEqual(
      later.filter((event) => event.id !== undefined),
      kept,
    );
    const { adapters } = await client.ok('GET', '/api/adapters');
    assert.equal(adapters[0].active, job.adapter!.version);
    undisturbed = await adapterOf(client, 'whole');
  });

  it('is paused at a checkpoint, lets others pass, and goes on to the same adapter', async () => {
    const id = await newJob(client, dataset, 'pause');
    await client.job(id, ({ curve }) => curve.train.length >= 3);
    const paused = await client.ok('POST', `/api/jobs/${id}/pause`, {});
    assert.equal(paused.state, 'paused');
    assert.throws(() => tunerOf(server), /no tuner/);
    // On the same data for the same adapter, and yet another run.
    const other = await newJob(client, dataset, 'pause', { epochs: 0.2 });
    await client.job(other, ({ state }) => state === 'done' || state === 'failed');
    const others = await readEvents(client, `/api/jobs/${other}/events`);
    assert.ok(!others.some(({ data }) => data.type === 'resumed' || data.state === 'interrupted'));
    assert.equal((await client.ok('GET', `/api/jobs/${id}`)).state, 'paused');
    await client.ok('POST', `/api/jobs/${id}/resume`, {});
    await client.job(id, ({ state }) => state === 'done');
    const events = await readEvents(client, `/api/jobs/${id}/events`);
    assert.ok(events.some(({ data }) => data.type === 'resumed' && data.step >= 3));
    assert.ok((await adapterOf(client, 'pause')) === undisturbed);
  });

  it('waits for a choice when its data has changed: its checkpoints are kept until somebody starts over', async () => {
    const { id: changing } = await client.ok('POST', '/api/datasets?name=changing', { examples: sayings(64) });
    const id = await newJob(client, changing, 'changed');
    await client.job(id, ({ curve }) => curve.train.length >= 3);
    const { curve: done } = await client.ok('POST', `/api/jobs/${id}/pause`, {});
    const saved = () =>
      readdirSync(join(home, 'runs'), { recursive: true }).filter((name) => String(name).includes('checkpoint'));
    const before = saved();
    assert.ok(before.length > 0);
    await client.ok('PATCH', `/api/datasets/${changing}`, { exclude: [1] });
    await client.ok('POST', `/api/jobs/${id}/resume`, {});
    const asked = await client.job(id, ({ state }) => state === 'failed');
    assert.equal(asked.error?.code, 'confirm');
    assert.match(
      asked.error!.message,
      /step \d+\) had other inputs or settings: data: found .*; undo the change and try again, or start over/,
    );
    assert.doesNotMatch(asked.error!.message, /--out|runs/);
    assert.deepEqual(saved(), before);
    await client.ok('PATCH', `/api/datasets/${changing}`, { include: [1] });
    await client.ok('POST', `/api/jobs/${id}/resume`, {});
    await client.job(id, ({ curve }) => curve.train.length > done.train.length);
    await client.ok('POST', `/api/jobs/${id}/pause`, {});
    await client.ok('PATCH', `/api/datasets/${changing}`, { exclude: [1] });
    await client.ok('POST', `/api/jobs/${id}/resume?restart=true`, {});
    await client.job(id, ({ state }) => state === 'done');
    const resumed = (await readEvents(client, `/api/jobs/${id}/events`)).filter(({ data }) => data.type === 'resumed');
    assert.equal(resumed.length, 1, 'once, after the change was undone');
    const { adapters } = await client.ok('GET', '/api/adapters');
    await client.ok('DELETE', `/api/adapters/${adapters.find(({ name }: { name: string }) => name === 'changed').id}`);
  });

  it('that has failed leaves nothing once it is removed from the list', async () => {
    const { id: changing } = await client.ok('POST', '/api/datasets?name=removed', { examples: sayings(64) });
    const runs = () => readdirSync(join(home, 'runs'));
    const before = runs();
    const id = await newJob(client, changing, 'removed');
    await client.job(id, ({ curve }) => curve.train.length >= 3);
    await client.ok('POST', `/api/jobs/${id}/pause`, {});
    await client.ok('PATCH', `/api/datasets/${changing}`, { exclude: [1] });
    await client.ok('POST', `/api/jobs/${id}/resume`, {});
    await client.job(id, ({ state }) => state === 'failed');
    assert.equal(runs().length, before.length + 1);
    await client.ok('DELETE', `/api/jobs/${id}`);
    assert.deepEqual(runs(), before);
  });

  it('whose process is killed goes on by itself, and says that it was interrupted', async () => {
    const id = await newJob(client, dataset, 'kill1');
    await client.job(id, ({ curve }) => curve.train.length >= 3);
    process.kill(tunerOf(server), 'SIGKILL');
    const job = await client.job(id, ({ state }) => state === 'done');
    assert.equal(job.error, undefined);
    const states = (await readEvents(client, `/api/jobs/${id}/events`)).filter(({ data }) => data.type === 'state');
    assert.deepEqual(
      states.map(({ data }) => data.state),
      ['queued', 'running', 'interrupted', 'running', 'done'],
    );
    assert.equal(states[2]!.data.message, 'interrupted by the system');
    assert.ok((await adapterOf(client, 'kill1')) === undisturbed);
  });

  it('whose server is killed goes on when the next one starts', async () => {
    const id = await newJob(client, dataset, 'orph1');
    await client.job(id, ({ curve }) => curve.train.length >= 3);
    const tuner = tunerOf(server);
    await server.end('SIGKILL');
    // It saves what it has and ends: nobody would take its adapter.
    while (isAlive(tuner)) await sleep(50);
    assert.deepEqual(filesWith(home, canary), []);
    const listed = await runLoam(['jobs', 'list', '--json'], { home });
    const left = JSON.parse(listed.stdout).jobs.find((job: { id: string }) => job.id === id);
    assert.deepEqual([left.state, left.message], ['interrupted', 'interrupted by the system']);
    server = await ServerProcess.start(home, env);
    client = server.client;
    await client.job(id, ({ state }) => state === 'done');
    assert.ok((await adapterOf(client, 'orph1')) === undisturbed);
  });

  it('is cancelled with its process, and nothing of its run is left', async () => {
    const id = await newJob(client, dataset, 'cancelled', { epochs: 400 });
    await client.job(id, ({ curve }) => curve.train.length >= 3);
    assert.equal(readdirSync(join(home, 'runs')).length, 1);
    const viaCommandLine = await runLoam(['jobs', 'cancel', 'cancelled', '--json'], { home });
    assert.equal(viaCommandLine.code, 0, viaCommandLine.stderr);
    assert.equal(JSON.parse(viaCommandLine.stdout).job.state, 'cancelled');
    assert.throws(() => tunerOf(server), /no tuner/);
    assert.deepEqual(readdirSync(join(home, 'runs')), []);
    const again = await client.send('POST', `/api/jobs/${id}/pause`, {});
    assert.deepEqual([again.status, again.json.error.code], [409, 'conflict']);
    const offline = await runLoam(['jobs', 'pause', id, '--json'], { home });
    assert.equal(JSON.parse(offline.stdout).code, 'conflict');
    await client.ok('DELETE', `/api/jobs/${id}`);
    assert.equal((await client.send('GET', `/api/jobs/${id}`)).status, 404);
  });

  it('learns from several data sets, what is in both once, and depends on each', async () => {
    const { id: second } = await client.ok('POST', '/api/datasets?name=second', { examples: sayings(40) });
    const quick = { ...options, epochs: 1, skipGeneral: true, replay: 0 };
    const asked = { dataset, also: [second, dataset], model: 'tiny', options: quick };
    const quote = await client.ok('POST', '/api/quote', asked);
    const { id } = await client.ok('POST', '/api/jobs', { name: 'both', ...asked });
    const events = await readEvents(client, `/api/jobs/${id}/events`);
    const told = events.find(({ data }) => data.type === 'data')!.data;
    // 32 and 40, of which 31 are the same: of the others one holds the secret.
    assert.equal(told.examples, 41);
    assert.equal(told.train, quote.examples);
    assert.ok(events.some(({ data }) => /^31 examples are in several of the files/.test(String(data.message))));
    const job = await client.job(id, ({ state }) => state === 'done');
    assert.equal(job.datasetName, 'sayings, second');
    const { versions } = await client.ok('GET', `/api/datasets/${second}/dependents`);
    assert.deepEqual(
      versions.map(({ datasets }: { datasets: { name: string }[] }) => datasets.map(({ name }) => name)),
      [['sayings', 'second']],
    );
    const waits = await client.ok('POST', '/api/jobs', { name: 'waits', ...asked, options });
    await client.ok('DELETE', `/api/datasets/${second}?adapters=delete`);
    assert.equal((await client.ok('GET', `/api/jobs/${waits.id}`)).state, 'cancelled');
    assert.equal((await client.send('POST', '/api/jobs', { body: { name: 'gone', ...asked } })).status, 400);
  });

  it('ends when its data set is deleted, which leaves no trace of the text', async () => {
    const running = await newJob(client, dataset, 'doomed', { epochs: 400 });
    await client.job(running, ({ curve }) => curve.train.length >= 1);
    const waiting = await newJob(client, dataset, 'doomed too');
    assert.deepEqual(filesWith(home, canary), []);
    const { jobs } = await client.ok('GET', `/api/datasets/${dataset}/dependents`);
    assert.deepEqual(
      jobs.map(({ name }: { name: string }) => name),
      ['doomed', 'doomed too'],
    );
    await client.ok('DELETE', `/api/datasets/${dataset}?adapters=delete`);
    for (const id of [running, waiting]) {
      const job = await client.ok('GET', `/api/jobs/${id}`);
      assert.deepEqual([job.state, job.message], ['cancelled', 'its data set was deleted']);
    }
    assert.deepEqual((await client.ok('GET', '/api/adapters')).adapters, []);
    await server.end('SIGKILL');
    assert.deepEqual(filesWith(home, canary), []);
    assert.equal(server.output().includes(canary), false);
  });
});
