import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError, packError, StoppedError, UsageError, unpackError } from './errors.js';

const through = (error: unknown) => unpackError(structuredClone(packError(error)));

it('a stated failure arrives as one of its class, with its fault and the code behind it', () => {
  const fault = { found: 'the disk is full', where: '/x', fix: 'free some' };
  const full = through(new LoamError(fault, { cause: Object.assign(new Error(), { code: 'ENOSPC' }) }));
  assert.ok(full instanceof LoamError);
  assert.deepEqual([full.fault, (full.cause as NodeJS.ErrnoException).code], [fault, 'ENOSPC']);
  assert.ok(through(new UsageError(fault)) instanceof UsageError);
  assert.ok(through(new StoppedError()) instanceof StoppedError);
  class SpecialError extends LoamError {
    override readonly name = 'SpecialError';
  }
  assert.equal(through(new SpecialError(fault)).name, 'SpecialError');
});

it('a bug arrives with its place and without its words', () => {
  const secret = 'words of the user';
  const error = new TypeError(`cannot read ${secret}\n    and ${secret}`);
  const arrived = through(error);
  assert.equal(arrived instanceof LoamError, false);
  assert.match(arrived.stack!, /errors\.test/);
  assert.doesNotMatch(JSON.stringify(packError(error)) + arrived.message + arrived.stack, /words of/);
});
