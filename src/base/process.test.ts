import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError, StoppedError, sentence, UsageError } from './errors.js';
import { packError, unpackError } from './process.js';

const through = (error: unknown) => unpackError(structuredClone(packError(error)));

it('a stated failure arrives as one of its class, with its fault and code', () => {
  const fault = { code: 'disk-full', found: 'the disk is full', where: '/x', fix: 'free some' } as const;
  const full = through(new LoamError(fault));
  assert.ok(full instanceof LoamError);
  assert.deepEqual([full.fault, full.code], [fault, 'disk-full']);
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
  assert.match(arrived.stack!, /process\.test/);
  assert.doesNotMatch(JSON.stringify(packError(error)) + arrived.message + arrived.stack, /words of/);
});

it('a message is one sentence with one full stop, and a clause of a longer one without', () => {
  const error = new LoamError({
    code: 'failed',
    found: 'the file has 3 bytes',
    expected: '4',
    where: 'a.bin',
    fix: 'copy it again',
  });
  assert.equal(error.message, 'a.bin: the file has 3 bytes, expected 4; copy it again.');
  assert.equal(
    new LoamError({ code: 'failed', found: `a list (${error.clause})` }).message,
    `a list (${error.clause}).`,
  );
  assert.equal(error.clause, 'a.bin: the file has 3 bytes, expected 4; copy it again');
  assert.equal(sentence(error.message), error.message);
});
