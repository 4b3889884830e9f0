/** Entry of the process that tunes: native code that aborts, or a system short of memory, ends this process and no other. */
import { writeFileSync } from 'node:fs';
import { type MemoryFile, memoryFile } from '../ggml/memoryFile.js';
import { quoteRun } from '../tune/quoteRun.js';
import { tune } from '../tune/tune.js';
import { StoppedError } from '../util/errors.js';
import { lowerPriority } from '../util/lowerPriority.js';
import { packError, unpackError } from '../util/sendError.js';
import type { FromTuner, ToTuner, TuneTask } from './tuneProtocol.js';

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
      send({ type: 'quoted', quote: await quoteRun(message.task.data, message.task.options, controller.signal) }),
    );
  } else answered?.(message);
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

async function runTask(task: TuneTask): Promise<void> {
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
          if (message.type === 'not-kept') throw unpackError(message.error);
          return message.type === 'kept' ? message.label : '';
        },
      },
    });
    for (;;) {
      const { done, value } = await run.next();
      if (done) {
        await send({ type: 'result', result: value });
        return;
      }
      void send({ type: 'event', event: value });
    }
  } finally {
    for (const file of files) await file[Symbol.asyncDispose]();
  }
}
