import { askChild } from '../base/child.js';
import { LoamError } from '../base/errors.js';
import { programPath } from '../base/package.js';
import { type SentError, unpackError } from '../base/process.js';
import { defaultThreads } from './threads.js';

/** How fast this device multiplies with the weights of a model: what a model of so many weights would take here, before there is one. */

/** Weights multiplied a second: one token after the other, as answers are made, and many at once, as texts are read. */
export interface Speed {
  answering: number;
  reading: number;
}

export interface SpeedRequest {
  threads: number;
}
export type SpeedReport = { speed: Speed } | { error: SentError };

const program = programPath('engine/speedWorker.js');

let known: Promise<Speed> | undefined;

/**
 * Measured once a process, in another one, which takes a second or so.
 * @param measure false: if it is not known yet, it stays so, because other work would be in the way
 * @throws LoamError: engine, process-died
 */
export async function deviceSpeed({ measure = true } = {}): Promise<Speed | undefined> {
  if (!known && measure) {
    known = measured();
    known.catch(() => {
      known = undefined;
    });
  }
  return await known;
}

async function measured(): Promise<Speed> {
  const request: SpeedRequest = { threads: defaultThreads() };
  return await askChild<SpeedReport, Speed>(program, request, {
    answerOf: (report) => {
      if ('error' in report) throw unpackError(report.error);
      return report.speed;
    },
    died: (how) => new LoamError({ code: 'process-died', found: `the process that measured the speed ${how}` }),
  });
}
