// How much longer training takes beside processes that keep cores busy: seconds of a step, alone and beside each number of them, in turn.
// A fair share of two cores beside one process is 2/3: 1.5 times as long.
//
//   npm run build && node bench/busy.mjs [DATA.json] [--busy 0,1] [--rounds 2] [-- further flags of loam tune]
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandLine, eventsOf, writeFirst } from './program.mjs';

const {
  values,
  positionals,
  further = [],
} = commandLine({
  busy: { type: 'string', default: '0,1' },
  rounds: { type: 'string', default: '2' },
  examples: { type: 'string', default: '40' },
});

const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const data = join(folder, 'data.json');
  await writeFirst(data, values.examples, positionals[0]);
  const counts = values.busy.split(',').map(Number);
  /** Seconds of all steps of a run, the shortest run of each. */
  const best = new Map(counts.map((count) => [count, Number.POSITIVE_INFINITY]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const count of counts) best.set(count, Math.min(best.get(count), await secondsOfSteps(data, count)));
  }
  const first = best.get(counts[0]);
  for (const [count, seconds] of best) {
    console.log(`${count} busy processes: ${seconds.toFixed(1)} s, ${(seconds / first).toFixed(2)} times the first`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function secondsOfSteps(data, count) {
  const others = Array.from({ length: count }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
  try {
    const flags = ['--method', 'qlora', '--epochs', '1', '--runs', '1', '--replay', '0', '--restart'];
    const events = await eventsOf(['tune', data, ...flags, '--out', join(folder, 'adapter.gguf'), ...further]);
    const steps = events.filter(({ type }) => type === 'step');
    if (steps.length < 2) throw new Error(JSON.stringify(events.at(-1)));
    // From the first step to the last, validations in between included.
    return steps.at(-1).seconds - steps[0].seconds;
  } finally {
    for (const other of others) other.kill('SIGKILL');
  }
}
