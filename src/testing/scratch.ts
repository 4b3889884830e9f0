import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Run } from '../base/events.js';
import type { Fetchable } from '../models/catalogue.js';
import type { FetchEvent, FetchTiming } from '../models/download.js';

/** A LOAM_HOME that goes when the test ends. */
export function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'loam-catalog-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** No test waits for what a person would. */
export const FAST: FetchTiming = {
  stallMs: 30_000,
  backoffMs: 1,
  maxWaitMs: 200,
  lockPollMs: 5,
  progressMs: 0,
  retries: 3,
};

/** Runs a long operation to its end. */
export async function drain<E, R>(run: Run<E, R>): Promise<{ events: E[]; value: R }> {
  const events: E[] = [];
  for await (const event of run) events.push(event);
  return { events, value: await run.result };
}

export function types(events: readonly FetchEvent[]): string[] {
  return events.map((event) => event.type).filter((type, i, all) => type !== all[i - 1]);
}

/** An entry with one source on the hub; the hub's hash is the rule unless one is given. */
export function hubEntry(size: number, more: Partial<Fetchable> = {}): Fetchable {
  return {
    name: 'test-model',
    title: 'Test model',
    file: 'model.gguf',
    size,
    sources: [{ kind: 'hub', repo: 'owner/repo', revision: 'main', file: 'model.gguf' }],
    ...more,
  };
}

/**
 * A folder for one test file, removed when its process ends: servers and tuners that its tests began are gone by then, even where
 * the folder was asked for within one test, whose own `after` comes before theirs.
 */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'loam-test-'));
  process.once('exit', () => remove(folder));
  return folder;
}

/** A process that is just ending may still write below it, behind what was removed already. */
function remove(folder: string, tries = 5): void {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  } catch (error) {
    if (tries === 0) throw error;
    remove(folder, tries - 1);
  }
}
