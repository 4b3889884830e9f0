import type { ProblemKind } from './types.js';

/** Thrown while one record is interpreted: it cannot be used. Caught per record and turned into a Problem; never leaves src/data. */
export class BadRecord extends Error {
  constructor(
    readonly kind: ProblemKind,
    readonly reason: string,
  ) {
    super(reason);
  }
}
