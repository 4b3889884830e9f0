import { writeFileSync } from 'node:fs';
import { StoppedError } from '../../base/errors.js';
import { lowerPriority, packError, unpackError } from '../../base/process.js';
import { type MemoryFile, memoryFile } from '../../engine/memory.js';
import { probeData } from '../../llama/memorised/probe.js';
import { priceRun } from '../../train/priceRun.js';
import { tune } from '../../train/tune.js';
import type { FromTuner, ProbeTask, ToTuner, TuneTask } from './TuneProcess.js';

/** Entry of the process that tunes: native code that aborts, or a system short of memory, ends this process and no other. */

/** All cores, but after everything else that wants to run. */
const NICE = 15;
/** Where memory is short this process is to be ended, and not the one that serves (proc(5), oom_score_adj: -1000 to 1000). */
const OOM_SCORE = 500;
/** Milliseconds to save a checkpoint in when the parent has gone. */
const FAREWELL_MS = 120_000;

lowerPriority(NICE);
try {
  writeFileSync('/proc/self/oom_score_adj', String(OOM_SCORE));
} catch {
  // Not Linux.
}

const controller = new AbortController();
let answered: ((message: ToTuner) => void) | undefined;

const send = (message: FromTuner) =>
  new Promise<void>((resolve) => {
    if (process.connected) process.send!(message, undefined, undefined, () => resolve());
    else resolve();
  });

process.on('message', (message: ToTuner) => {
  if (message.type === 'stop') controller.abort();
  else if (message.type === 'tune') void work(() => runTask(message.task));
  else if (message.type === 'quote') {
    void work(async () =>
      send({ type: 'quoted', quote: await priceRun(message.task.data, message.task.options, controller.signal) }),
    );
  } else if (message.type === 'probe') void work(() => probe(message.task));
  else answered?.(message);
});
// The parent has died: what was computed is saved, and the next one goes on from there.
process.on('disconnect', () => {
  controller.abort();
  answered?.({ type: 'kept', label: '' });
  setTimeout(() => process.exit(1), FAREWELL_MS);
});

async function work(run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    await send({ type: 'failed', error: packError(error) });
  }
  process.exit(0);
}

async function probe({ model, adapter, name, data, seconds }: ProbeTask): Promise<void> {
  await using file = await memoryFile(adapter);
  const request = { data, model, adapter: { name, path: file.path } };
  const probing = probeData(request, { budget: seconds }, controller.signal);
  for await (const event of probing) if (event.type === 'probing') void send(event);
  await send({ type: 'probed', report: await probing.result });
}

async function runTask(task: TuneTask): Promise<void> {
  let kept: Uint8Array | undefined;
  const files: MemoryFile[] = [];
  const pathOf = async (bytes: Uint8Array | undefined) => {
    if (bytes === undefined) return undefined;
    const file = await memoryFile(bytes);
    files.push(file);
    return file.path;
  };
  try {
    const options = { ...task.options, start: await pathOf(task.start), teacher: await pathOf(task.teacher) };
    const run = tune(task.data, options, controller.signal, {
      key: task.key,
      heldout: task.heldout,
      // The one who made the key forgets it.
      forget: async () => {},
      keeper: {
        name: task.name,
        check() {},
        async keep(bytes, { base, recipe, metrics }, measured) {
          if (!process.connected) throw new StoppedError();
          const reply = new Promise<ToTuner>((resolve) => {
            answered = resolve;
          });
          await send({ type: 'keep', bytes, adapter: { base, recipe, metrics }, measured });
          const message = await reply;
          if (measured) kept = bytes;
          if (message.type === 'not-kept') throw unpackError(message.error);
          return message.type === 'kept' ? message.label : '';
        },
      },
    });
    for await (const event of run) void send({ type: 'event', event });
    await send({ type: 'result', result: await run.result });
  } finally {
    for (const file of files) await file[Symbol.asyncDispose]();
  }
  const { data, name, probeSeconds: seconds } = task;
  if (kept && seconds > 0) await probe({ model: task.options.model, adapter: kept, name, data: [data], seconds });
}
