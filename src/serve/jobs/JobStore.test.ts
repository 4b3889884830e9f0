import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { LoamError } from '../../base/errors.js';
import { Vault } from '../../store/Vault.js';
import { queuedJob, stepEvent } from '../../testing/runEvents.js';
import { scratchFolder } from '../../testing/scratch.js';
import type { JobEvent } from '../contract/jobs.js';
import { followStored, type LoggedEvent, type StoredJob } from './Job.js';
import { JobLog, JobStore } from './JobStore.js';

const vault = await Vault.open(scratchFolder());
after(() => vault[Symbol.asyncDispose]());
const store = new JobStore(vault);
const warning = (n: number): JobEvent => ({ type: 'warning', message: String(n) });

async function read(log: JobLog, after = 0): Promise<LoggedEvent[]> {
  const found: LoggedEvent[] = [];
  for await (const logged of log.listen(after, new AbortController().signal)) found.push(logged);
  return found;
}

describe('JobLog', () => {
  it('comes back from the vault as it was, and goes on counting', async () => {
    const log = await JobLog.open('a', store);
    for (let n = 1; n <= 900; n++) log.add(warning(n));
    log.add({ type: 'eta', seconds: 1 });
    await log.flush();
    log.add(warning(901));
    const again = await JobLog.open('a', store);
    again.add(warning(1000));
    again.end();
    // What was not flushed is lost; a moment's event was never kept.
    assert.deepEqual(
      (await read(again)).map(({ n }) => n),
      Array.from({ length: 901 }, (_, i) => i + 1),
    );
    assert.deepEqual(
      (await read(again, 899)).map(({ event }) => (event as { message: string }).message),
      ['900', '1000'],
    );
    const empty = await JobLog.open('b', store);
    empty.end();
    assert.deepEqual(await read(empty), []);
  });

  it('tells each listener everything once and in order, whenever it came', async () => {
    const log = await JobLog.open('c', store);
    log.add(warning(1));
    const listeners = [read(log), read(log)];
    await new Promise((resolve) => setImmediate(resolve));
    for (let n = 2; n <= 50; n++) {
      log.add(warning(n));
      if (n === 20) listeners.push(read(log, 10));
      if (n % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    log.end();
    const [first, second, late] = await Promise.all(listeners);
    const numbers = (events: LoggedEvent[]) => events.flatMap(({ n }) => n ?? []);
    const all = Array.from({ length: 50 }, (_, i) => i + 1);
    assert.deepEqual([numbers(first!), numbers(second!), numbers(late!)], [all, all, all.slice(10)]);
  });
});

describe('JobStore', () => {
  const job: StoredJob = { ...queuedJob, id: 'd', state: 'running' };

  it('keeps in memory what cannot be written, says so once, and writes it when it can', async (t) => {
    const told: unknown[] = [];
    const { documents } = vault;
    const full = new LoamError({ code: 'disk-full', found: 'the disk is full' });
    let fails = 0;
    const failing = {
      put: async (...args: Parameters<typeof documents.put>) => {
        if (fails-- > 0) throw full;
        return await documents.put(...args);
      },
      list: documents.list.bind(documents),
      get: documents.get.bind(documents),
    };
    using flaky = new JobStore({ documents: failing } as unknown as Vault, (_, error) => told.push(error));
    const log = await JobLog.open('e', flaky);
    const late = followStored({ ...job, id: 'e' }, log.add(stepEvent(1)));
    fails = 2;
    assert.equal(await flaky.save(late, log), full);
    assert.equal(await flaky.save(late, log), full);
    assert.deepEqual(told, [full]);
    assert.equal(await flaky.save(late, log), undefined);
    const load = async () => (await store.load({ alive: true })).find(({ id }) => id === 'e');
    assert.deepEqual(await load(), late);
    assert.equal((await store.loadEvents('e')).length, 1);
    // By itself, too.
    const later = followStored(late, log.add(stepEvent(2)));
    fails = 1;
    t.mock.timers.enable({ apis: ['setTimeout'] });
    assert.equal(await flaky.save(later, log), full);
    t.mock.timers.tick(60_000);
    t.mock.timers.reset();
    while ((await load())?.lastEvent !== later.lastEvent) await new Promise((resolve) => setImmediate(resolve));
  });

  it('gives a job back with every event that was kept, though the job itself was written before the last of them', async () => {
    const log = await JobLog.open('d', store);
    log.add({ type: 'state', state: 'running' });
    const early = followStored(job, log.add(stepEvent(1)));
    await store.put(early);
    const late = followStored(early, log.add(stepEvent(2)));
    await log.flush();
    const load = async (alive: boolean) => (await store.load({ alive })).find(({ id }) => id === 'd');
    assert.deepEqual(await load(true), late);
    assert.deepEqual(await load(false), { ...late, state: 'interrupted', message: 'interrupted by the system' });
  });
});
