import { writeFileSync } from 'node:fs';
import { type MemoryFile, memoryFile } from '../../engine/memory.js';
import { probeData } from '../../llama/memorised/probe.js';
import type { PrivateRun } from '../../train/output.js';
import { priceRun } from '../../train/priceRun.js';
import { tune } from '../../train/tune.js';
import { serveTasks } from '../worker.js';
import type { Kept, TunerTasks, TuneTask } from './tuner.js';

/** Entry of the process that tunes. */

/** All cores, but after everything else that wants to run. */
const NICE = 15;
/** Where memory is short this process is to be ended, and not the one that serves (proc(5), oom_score_adj: -1000 to 1000). */
const OOM_SCORE = 500;
/** Milliseconds to save a checkpoint in when the parent has gone; the next one resumes from there. */
const FAREWELL_MS = 120_000;

try {
  writeFileSync('/proc/self/oom_score_adj', String(OOM_SCORE));
} catch {
  // Not Linux.
}

serveTasks<TunerTasks>(
  {
    async tune(task, { signal, emit, ask }) {
      const files: MemoryFile[] = [];
      const { start, teacher } = task.adapters;
      try {
        const options = { ...task.options, start: await pathOf(start, files), teacher: await pathOf(teacher, files) };
        return await tune(task.data, options, signal, privateRun(task, ask)).each(emit);
      } finally {
        for (const file of files) await file[Symbol.asyncDispose]();
      }
    },
    quote: ({ data, options }, { signal }) => priceRun(data, options, signal),
    async probe({ model, adapter, name, data, known, seconds }, { signal, emit }) {
      await using file = await memoryFile(adapter);
      const request = { data, model, known, adapter: { name, path: file.path } };
      return await probeData(request, { budget: seconds }, signal).each((event) => {
        if (event.type === 'probing') emit(event);
      });
    },
  },
  { nice: NICE, farewellMs: FAREWELL_MS },
);

async function pathOf(bytes: Uint8Array | undefined, files: MemoryFile[]): Promise<string | undefined> {
  if (bytes === undefined) return undefined;
  const file = await memoryFile(bytes);
  files.push(file);
  return file.path;
}

/** The adapter goes to the parent, and so do the decisions on the key. */
function privateRun({ heldout, makes: { key, name } }: TuneTask, ask: (kept: Kept) => Promise<string>): PrivateRun {
  return {
    key,
    heldout,
    rulesAreKept: true,
    forget: async () => {},
    keeper: {
      name,
      check() {},
      async keep(bytes, { base, recipe, metrics }, measured) {
        // A parent that goes with the adapter in its hands may or may not have kept it: the checkpoints stay, and the next one sees.
        return await ask({ bytes, base, recipe, metrics, measured });
      },
    },
  };
}
