import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { describe, it } from 'node:test';
import { triedOf } from '../base/tried.js';
import { Vault } from '../store/Vault.js';
import { addTinyModel, newHome, readEvents, type SentEvent, ServerProcess } from '../testing/server.js';
import type { Memorised } from './contract/adapters.js';
import { noteMemorised, type ProbeProgress, Probes } from './jobs/probing.js';
import { memorisedOf } from './views.js';

/** Testing versions for private details in the background: put off, gone on with, repeated, and what an export asks for meanwhile. */

const home = newHome();
const model = await addTinyModel(home, { layers: 2 });
const server = await ServerProcess.start(home);
const { client } = server;
const examples = Array.from({ length: 24 }, (_, i) => ({
  instruction: `Say number ${i}`,
  input: '',
  output: i < 3 ? `write to mara.quill${i}@wheelwright-lane.org` : 'the thing in the inn',
}));
const { id: dataset } = await client.ok('POST', '/api/datasets?name=sayings', { examples });
const options = { method: 'qlora', patience: 99, runs: 1, threads: 1, epochs: 1, replay: 0, skipGeneral: true };
const { id } = await client.ok('POST', '/api/jobs', { name: 'sayings', dataset, model: 'tiny', options });
const { adapter } = await client.job(id, ({ state }) => state === 'done');
const path = `/api/adapters/${adapter!.id}/versions/${adapter!.version}`;
const memorised = async () => (await client.ok('GET', `${path}/memorised`)).memorised as Memorised;

describe('testing for private details', () => {
  it('has tried all after a run, and an export asks for nothing', async () => {
    const report = await memorised();
    assert.deepEqual([report.findings, report.probed, report.left, triedOf(report)], [3, 3, 0, 'clean']);
    assert.equal((await client.send('GET', `${path}/export`)).status, 200);
  });

  it('is repeated in the background, which the status tells of', async () => {
    const { at } = await memorised();
    const before = await client.ok('GET', '/api/status');
    await client.ok('POST', `${path}/memorised?wait=false&again=true`, {});
    const { probing } = await client.ok('GET', '/api/status');
    assert.deepEqual(
      (probing as ProbeProgress[]).map(({ version }) => version),
      [adapter!.version],
    );
    // Joins the one that is under way.
    const whole = await client.ok('POST', `${path}/memorised`, {});
    assert.ok(whole.memorised.at > at);
    assert.equal(whole.memorised.probed, 3);
    assert.deepEqual((await client.ok('GET', '/api/status')).probing, []);
    // Who has the status and listens only then misses nothing.
    const told = ({ data }: SentEvent) => (data.type === 'probing' ? [data.probing as ProbeProgress[]] : []);
    const isOver = (event: SentEvent) => told(event)[0]?.length === 0;
    const lists = (await readEvents(client, '/api/events', { lastId: before.event, until: isOver })).flatMap(told);
    assert.deepEqual(lists[0], [{ version: adapter!.version, done: 0, total: 0 }]);
    assert.deepEqual(lists.at(-2), [{ version: adapter!.version, done: 2, total: 3 }]);
  });

  it('is refused at once where the base model is gone, and what was found out stays', async () => {
    renameSync(model, `${model}.away`);
    const answer = await client.send('POST', `${path}/memorised?wait=false&again=true`, {});
    renameSync(`${model}.away`, model);
    assert.equal(answer.status, 404);
    assert.match(answer.text, /its base model .*is not on this device/);
    assert.equal((await memorised()).probed, 3);
  });

  it('goes on where it was left, waits while something is learnt, and asks before an export', async () => {
    await server.end('SIGTERM');
    await using vault = await Vault.open(home);
    const version = adapter!.version;
    const report = memorisedOf(vault.adapters.version(version))!;
    const place = { certainty: 'certain', example: 0, line: 1, record: 0, number: 1, trained: true } as const;
    const stranger = { ...place, id: 'of no finding', kind: 'email', label: 'e-mail address', preview: 'm…' } as const;
    await noteMemorised(vault, version, {
      ...report,
      probed: 1,
      left: 2,
      verdicts: { ...report.verdicts, 'not found': 1, 'not probed': 2 },
      results: [{ ...stranger, verdict: 'not found' }],
    });
    assert.equal(triedOf(memorisedOf(vault.adapters.version(version))), 'partly');

    let isBusy = true;
    const seen: ProbeProgress[][] = [];
    await using probes = new Probes(home, vault, {
      onChange: (list) => seen.push(list),
      onNoted: () => {},
      isBusy: () => isBusy,
    });
    probes.resume();
    assert.deepEqual(
      probes.list().map((one) => one.version),
      [version],
    );
    assert.deepEqual(seen, [[{ version, done: 0, total: 0 }]]);
    isBusy = false;
    // The one that waits is joined.
    const done = probes.begin(version);
    probes.look();
    await done;
    const whole = memorisedOf(vault.adapters.version(version))!;
    assert.deepEqual([whole.probed, whole.left, triedOf(whole)], [3, 0, 'clean']);
    assert.deepEqual(probes.list(), []);
    assert.deepEqual([seen.at(-2), seen.at(-1)], [[{ version, done: 2, total: 3 }], []]);
    // What was found out before was only for as long as some was left.
    assert.equal(await vault.documents.get('probed', version), undefined);

    // One that fails is listed with the reason, and keeps nothing busy, until it is begun again.
    renameSync(model, `${model}.away`);
    await assert.rejects(probes.begin(version, { again: true }), { code: 'not-found' });
    renameSync(`${model}.away`, model);
    const [{ message, ...rest } = {}, ...others] = seen.at(-1)!;
    assert.deepEqual([rest, others, probes.hasWork], [{ version, done: 0, total: 0, code: 'not-found' }, [], false]);
    assert.match(message!, /^its base model .*is not on this device/);
    await probes.begin(version);
    await assert.rejects(probes.begin('0'.repeat(32)), { code: 'not-found' });
    assert.deepEqual(probes.list(), []);
  });
});
