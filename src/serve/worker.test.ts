import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { OddTasks } from '../testing/oddWorker.js';
import { WorkerProcess } from './worker.js';

const program = fileURLToPath(new URL('../testing/oddWorker.js', import.meta.url));
const start = (more: { lifeMs?: number } = {}) =>
  new WorkerProcess<OddTasks>(program, { does: 'answers', stopMs: 1000, ...more });

it('a worker gives what a task comes to, also when that cannot be sent', async () => {
  await using worker = start();
  const events: string[] = [];
  assert.equal(await worker.run('odd', 'answers').each((event) => void events.push(event)), 'answers');
  assert.deepEqual(events, ['begun']);
  await assert.rejects(worker.run('odd', 'unsendable').result, /unexpected .* in another process/);
  assert.equal(await worker.run('odd', 'answers').result, 'answers');
});

it('a task that aborts, holds up its process or never ends is a stated failure, and the process is gone', async () => {
  for (const [input, options, limits, message] of [
    ['aborts', {}, undefined, /^the process that answers was ended by the system \(SIGABRT\); /],
    [
      'blocks',
      { lifeMs: 3000 },
      undefined,
      /^the process that answers gave no sign of life for 3\.0 s and was ended; /,
    ],
    [
      'waits',
      { lifeMs: 30_000 },
      { firstMs: 30_000, nextMs: 500 },
      /^the process .* came to nothing in 0\.5 s and was/,
    ],
  ] as const) {
    await using worker = start(options);
    await assert.rejects(worker.run('odd', input, { limits }).result, { code: 'process-died', message });
    assert.equal(worker.isAlive, false);
  }
});
