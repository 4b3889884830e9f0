import type { Speed } from '../engine/speed.js';
import { families } from '../families/index.js';
import { CATALOG, type ModelEntry } from './catalogue.js';

/** Which base models suit a device, by the memory that is free on it and by how fast it multiplies. */

/** Most resident memory of runs, as measured: 40 examples, all layers; the upper 8 of 22 layers, a little more than ridge takes there. */
const measured = [
  { fileBytes: 98e6, peak: 0.44e9 },
  { fileBytes: 637e6, peak: 0.91e9 },
] as const;

/** A line through both: a run's own quote looks into the model's file, which is not there yet. */
function needed(fileBytes: number): number {
  const [small, large] = measured;
  const slope = (large.peak - small.peak) / (large.fileBytes - small.fileBytes);
  return Math.round(small.peak + slope * (fileBytes - small.fileBytes));
}

/** Share of the free memory that a run may take before the system looks for something to end. */
const COMFORTABLE = 0.75;
/** Tokens a second that an answer needs in order to keep up with whoever reads it. */
const READABLE = 5;

export interface Advice {
  name: string;
  /** Bytes of memory that a run takes, about. */
  needsBytes: number;
  /** Whether it has them: with room to spare, only if other programs give theirs back, or not. */
  memory: 'enough' | 'tight' | 'lacking';
  /** Tokens a second of an answer, at most; undefined if the speed is not known. */
  tokensPerSecond?: number;
}

/** Advice on each model of the catalogue that can be taught here. @param memory in bytes */
export function adviceOn(memory: { available: number; total: number }, speed: Speed | undefined): Advice[] {
  return CATALOG.filter(({ architecture }) => families.has(architecture)).map(({ name, size, parameters }) => {
    const needsBytes = needed(size);
    const fits = needsBytes <= COMFORTABLE * memory.available;
    const mayFit = needsBytes <= COMFORTABLE * memory.total;
    return {
      name,
      needsBytes,
      memory: fits ? 'enough' : mayFit ? 'tight' : 'lacking',
      ...(speed && { tokensPerSecond: speed.answering / parameters }),
    };
  });
}

/** The largest one to talk to that has the memory and keeps up with a reader; undefined if none does, or the speed is not known. */
export function bestOf(advice: readonly Advice[]): string | undefined {
  const of = (name: string) => CATALOG.find((entry) => entry.name === name) as ModelEntry;
  const suitable = advice.filter(
    ({ name, memory, tokensPerSecond = 0 }) => of(name).chat && memory === 'enough' && tokensPerSecond >= READABLE,
  );
  return suitable.toSorted((a, b) => of(b.name).parameters - of(a.name).parameters)[0]?.name;
}
